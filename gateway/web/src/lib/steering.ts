// Features that move the documents of a search up or down, as the address has them: `12:2,40:-1.5`.
export interface Boost { index: number; weight: number }

export const MAX_WEIGHT = 3;
export const MAX_BOOSTS = 32;

/** What is not a feature with a weight is left out. A plus before a weight, which an address has as a space, may stand. */
export function parseBoosts(text: string): Boost[] {
  const boosts = new Map<number, number>();
  for (const part of text.split(",")) {
    const [, index, weight] = /^(\d{1,9}):([-+ ]?\d(?:\.\d+)?)$/.exec(part) ?? [];
    if (index === undefined || Math.abs(Number(weight)) > MAX_WEIGHT) continue;
    boosts.set(Number(index), Number(weight));
  }
  return [...boosts].slice(0, MAX_BOOSTS).map(([index, weight]) => ({ index, weight }));
}

/** The boosts with another weight of one feature; without it where there is no weight. */
export function boostText(boosts: Boost[], index: number, weight?: number): string {
  const weights = new Map(boosts.map((boost) => [boost.index, boost.weight]));
  if (weight === undefined) weights.delete(index);
  else weights.set(index, weight);
  return [...weights].map(([feature, value]) => `${feature}:${value}`).join(",");
}
