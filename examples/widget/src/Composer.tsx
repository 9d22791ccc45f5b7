import { useLayoutEffect, useState, type KeyboardEvent, type Ref, type RefObject } from "react";

interface ComposerProps {
  ref: RefObject<HTMLTextAreaElement | null>;
  disabled: boolean;
  /** An answer is being given: what is sent now cuts in. */
  answering: boolean;
  onSay: (text: string) => void;
  onStop: () => void;
}

/** Where words are typed, at any time: Enter sends them, and stops the answer that is given. */
export function Composer({ ref, disabled, answering, onSay, onStop }: ComposerProps) {
  const [text, setText] = useState("");
  useLayoutEffect(() => grow(ref.current), [text, ref]);

  const send = () => {
    if (text.trim() === "" || disabled) return;
    onSay(text.trim());
    setText("");
    ref.current?.focus();
  };
  const typed = (event: KeyboardEvent) => {
    // Enter also ends the choice of a character, where many are typed with few keys.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      className="bargein-composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={ref as Ref<HTMLTextAreaElement>}
        rows={1}
        value={text}
        aria-label="Your words"
        aria-keyshortcuts="Enter Escape"
        placeholder={answering ? "Cut in whenever you like" : "Say something"}
        autoComplete="off"
        disabled={disabled}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={typed}
      />
      {answering && (
        <button type="button" className="bargein-stop" title="Escape" onClick={onStop}>
          <span className="bargein-square" aria-hidden="true" />
          Stop
        </button>
      )}
      <button type="submit" className="bargein-send" disabled={disabled || text.trim() === ""}>
        {answering ? "Cut in" : "Send"}
      </button>
    </form>
  );
}

/** As high as its words, up to what the style sheet allows. */
function grow(field: HTMLTextAreaElement | null) {
  if (!field) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
