/** Small pieces of English for messages. */

/** "a", "a and b", "a, b and c". */
export function listing(words: readonly string[], last = 'and'): string {
  const head = words.slice(0, -1);
  const tail = words.at(-1) ?? '';
  return head.length === 0 ? tail : `${head.join(', ')} ${last} ${tail}`;
}

/** The first `most` words with commas, and how many were left out. */
export function shortList(words: readonly string[], most = 10): string {
  const left = words.length - most;
  return left > 0 ? `${words.slice(0, most).join(', ')} and ${left} more` : words.join(', ');
}

/** "1 storage node", "2 storage nodes". */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** "a zone", "an availability_zone". */
export function withArticle(noun: string): string {
  return `${/^[aeio]/i.test(noun) ? 'an' : 'a'} ${noun}`;
}

/** "1st", "2nd", "3rd", "4th", "11th". */
export function ordinal(n: number): string {
  const teen = n % 100 >= 11 && n % 100 <= 13;
  const ending = teen ? undefined : ['th', 'st', 'nd', 'rd'][n % 10];
  return `${n}${ending ?? 'th'}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Bytes for people: one decimal, binary units ("1.8 GiB"). */
export function formatBytes(bytes: number): string {
  let amount = Math.abs(bytes);
  let unit = 0;
  // 1023.95 and not 1024: what rounds to "1024.0 MiB" is said in the next unit.
  while (amount >= 1023.95 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const digits = unit === 0 ? String(Math.round(amount)) : amount.toFixed(1);
  return `${bytes < 0 ? '-' : ''}${digits} ${UNITS[unit] ?? 'B'}`;
}

/** Levenshtein distance without regard to case: how many letters to insert, delete or change. */
export function editDistance(left: string, right: string): number {
  const a = left.toLowerCase();
  const b = right.toLowerCase();
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The `words` in order of likeness to `word`, then of the alphabet. */
export function mostAlike(word: string, words: readonly string[]): readonly string[] {
  // Longer ones than any label key aren't compared: the distance is quadratic.
  const distance = new Map(words.map((other) => [other, editDistance(word.slice(0, 320), other.slice(0, 320))]));
  return words.toSorted((a, b) => (distance.get(a) ?? 0) - (distance.get(b) ?? 0) || (a < b ? -1 : 1));
}

/** The one word that was probably meant, if there is one. */
export function didYouMean(word: string, words: readonly string[]): string | undefined {
  const best = mostAlike(word, words)[0];
  const near = best !== undefined && editDistance(word.slice(0, 320), best) <= Math.max(1, Math.floor(best.length / 3));
  return near ? best : undefined;
}
