import type { Source } from "./activity";

const MARK = /(\[\d{1,3}\])/;
const ITEM = /^[-*•] +/;

interface WordsProps {
  text: string;
  sources: readonly Source[];
}

/** The agent's words, as text; a number in brackets that names a source links to it. */
export function Answer({ text, sources }: WordsProps) {
  if (text === "") return null;
  // Words are only ever added at the end, so a block's place is its name.
  return text
    .trim()
    .split(/\n{2,}/)
    .map((block, place) => {
      const lines = block.split("\n");
      if (!lines.every((line) => ITEM.test(line))) {
        return (
          <p key={place}>
            <Words text={block} sources={sources} />
          </p>
        );
      }
      return (
        <ul key={place}>
          {lines.map((line, number) => (
            <li key={number}>
              <Words text={line.replace(ITEM, "")} sources={sources} />
            </li>
          ))}
        </ul>
      );
    });
}

function Words({ text, sources }: WordsProps) {
  return text.split(MARK).map((part, place) => <Part key={place} text={part} sources={sources} />);
}

function Part({ text, sources }: WordsProps) {
  const named = MARK.test(text) && sources.find(({ n }) => text === `[${n}]`);
  if (!named) return text;
  return named.url === null ? (
    <span className="bargein-mark" title={named.title}>
      {text}
    </span>
  ) : (
    <a
      className="bargein-mark"
      href={named.url}
      title={named.title}
      target="_blank"
      rel="noopener noreferrer"
    >
      {text}
    </a>
  );
}

/** Where the facts of an answer are from. */
export function Sources({ sources }: { sources: readonly Source[] }) {
  return (
    <section className="bargein-sources" aria-label="Sources">
      <ol>
        {sources.map((source, place) => (
          <li key={place}>
            <span className="bargein-number" aria-hidden="true">
              {source.n}
            </span>
            <span>
              {source.url === null ? (
                <span className="bargein-source">{source.title}</span>
              ) : (
                <a
                  className="bargein-source"
                  href={source.url}
                  target="_blank"
                  rel="noopener noreferrer"
                >
                  {source.title}
                </a>
              )}
              {source.place && <span className="bargein-place"> {source.place}</span>}
              {source.snippet && <q>{source.snippet}</q>}
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}
