// What can be said of a file of documents before it is sent: whether it is JSON, and which fields its items have.
const HEAD_BYTES = 1 << 20;

/** The fields of a file's first document. */
export interface Checked {
  fields: string[];
  idField: string | undefined;
  textField: string | undefined;
}

export class UnreadableFile extends Error {}

/** Reads the start of a file. Raises UnreadableFile for anything but a JSON array of objects or JSON lines. */
export async function check(file: File, expected: (content: string) => string): Promise<Checked> {
  const head = (await file.slice(0, HEAD_BYTES).text()).replace(/^\uFEFF/, "").trimStart();
  const start = head.startsWith("[") ? head.indexOf("{") : 0;
  const item = start >= 0 && head[start] === "{" ? firstObject(head.slice(start)) : undefined;
  if (!item) throw new UnreadableFile(expected(kindOf(file.name, head)));
  const fields = Object.keys(item);
  const isText = (field: string) => typeof item[field] === "string";
  const pick = (names: string[], suits: (field: string) => boolean) => names.find((name) => fields.includes(name) && suits(name));
  return {
    fields,
    idField: pick(["id", "_id", "key", "uid"], (field) => ["string", "number"].includes(typeof item[field])),
    textField: pick(["text", "body", "content", "abstract", "document"], isText),
  };
}

/** The object that a text begins with; undefined where it is cut or broken. */
function firstObject(text: string): Record<string, unknown> | undefined {
  let depth = 0;
  let inString = false;
  for (let position = 0; position < text.length; position += 1) {
    const letter = text[position];
    if (inString) {
      if (letter === "\\") position += 1;
      else if (letter === '"') inString = false;
    } else if (letter === '"') inString = true;
    else if (letter === "{" || letter === "[") depth += 1;
    else if ((letter === "}" || letter === "]") && --depth === 0) {
      try {
        return JSON.parse(text.slice(0, position + 1)) as Record<string, unknown>;
      } catch {
        return undefined;
      }
    }
  }
  return undefined;
}

function kindOf(name: string, head: string): string {
  if (!head) return "empty";
  if (/\.(csv|tsv)$/i.test(name)) return "CSV";
  if (head.startsWith("PAR1")) return "Parquet";
  return name.includes(".") ? name.slice(name.lastIndexOf(".")) : "";
}
