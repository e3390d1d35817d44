// All words of the page. Another language is another file with the same keys.
import { en } from "./en";

export const m = en;
