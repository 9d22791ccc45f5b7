// Arguments as they are edited: one field for each, and back to values of the same kinds.

export interface Draft {
  name: string;
  kind: "line" | "text" | "number" | "boolean" | "secret" | "json";
  value: string | boolean;
}

/** What stands for a value that is the tool's alone: only the tool has it, so it is asked anew. */
const SECRET = "[secret]";
const LONG_CHARS = 60;

/** Make a field of an argument; what is no plain value is edited as JSON. */
export function draftOf([name, value]: [string, unknown]): Draft {
  if (value === SECRET) return { name, kind: "secret", value: "" };
  if (typeof value === "boolean") return { name, kind: "boolean", value };
  if (typeof value === "number") return { name, kind: "number", value: String(value) };
  if (typeof value === "string") {
    const long = value.length > LONG_CHARS || value.includes("\n");
    return { name, kind: long ? "text" : "line", value };
  }
  return { name, kind: "json", value: JSON.stringify(value, null, 2) };
}

/** Read all fields; `wrong` says of those that can't be read what is wrong with them. */
export function readDraft(fields: readonly Draft[]) {
  const args: Record<string, unknown> = {};
  const wrong: Record<string, string> = {};
  for (const field of fields) {
    const read = valueOf(field);
    if ("wrong" in read) wrong[field.name] = read.wrong;
    else args[field.name] = read.value;
  }
  return { args, wrong };
}

function valueOf({ kind, value }: Draft): { value: unknown } | { wrong: string } {
  const text = String(value);
  switch (kind) {
    case "number": {
      const number = Number(text.trim().replace(",", "."));
      const isNumber = text.trim() !== "" && Number.isFinite(number);
      return isNumber ? { value: number } : { wrong: "A number, please." };
    }
    case "secret":
      return text ? { value } : { wrong: "It is not kept here: type it again." };
    case "json":
      try {
        return { value: JSON.parse(text) };
      } catch {
        return { wrong: "This is not JSON." };
      }
    default:
      return { value };
  }
}
