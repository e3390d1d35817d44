// Features and families that move the documents of a search up or down, as the address has them: `12:2,families/1-12:-1.5`.
import type { Family, Hit } from "./api";

export interface Boost {
  /** The index of a feature, or `families/{family}`. */
  of: string;
  weight: number;
}

/** Why a family moves nothing: families cannot be loaded, none has this name, its features steer already, or limits are reached. */
export type Obstacle = "away" | "unknown" | "repeated" | "large";

/** What a family moves as one feature. */
export interface FamilySet {
  family: Family | undefined;
  /** Its features but for those that steer by themselves or in an earlier family; empty where there is an obstacle. */
  indices: number[];
  weight: number;
  obstacle?: Obstacle;
}

export const MAX_WEIGHT = 3;
export const MAX_BOOSTS = 32;
export const MAX_SET_FEATURES = 256;
const MAX_SETS = 16;

export const isFamily = (of: string): boolean => of.includes("/");
/** The part of a family's name that the address has: `families/1-12` of `runs/first/families/1-12`. */
export const nameInRun = (family: string): string => family.split("/").slice(2).join("/");

/** How many features of a family are trusted. */
export const trustedCount = (family: Family): number =>
  family.members.filter((member) => member.reliability?.trust === "TRUST_TRUSTED").length;

/** Where a family is drawn: its top feature marked in the graph of its round. */
export const familyAddress = (run: string, family: Family): string =>
  `/${run}/families?at=${family.parentIndex}${family.round === 1 ? "" : `&round=${family.round}`}`;

/** What is not a feature or a family with a weight is left out. A plus before a weight, which an address has as a space, may stand. */
export function parseBoosts(text: string): Boost[] {
  const boosts = new Map<string, number>();
  for (const part of text.split(",")) {
    const [, index, family, weight] = /^(?:(\d{1,9})|(families\/[^\s/:]{1,100})):([-+ ]?\d(?:\.\d+)?)$/.exec(part) ?? [];
    const of = index === undefined ? family : String(Number(index));
    if (of === undefined || Math.abs(Number(weight)) > MAX_WEIGHT) continue;
    boosts.set(of, Number(weight));
  }
  return [...boosts].slice(0, MAX_BOOSTS).map(([of, weight]) => ({ of, weight }));
}

/** The boosts with another weight of one; without it where there is no weight. */
export function boostText(boosts: Boost[], of: string, weight?: number): string {
  const weights = new Map(boosts.map((boost) => [boost.of, boost.weight]));
  if (weight === undefined) weights.delete(of);
  else weights.set(of, weight);
  return [...weights].map(([key, value]) => `${key}:${value}`).join(",");
}

/** The features among the boosts, as a request has them. */
export const latentsOf = (boosts: Boost[]): { index: number; weight: number }[] =>
  boosts.filter(({ of }) => !isFamily(of)).map(({ of, weight }) => ({ index: Number(of), weight }));

/**
 * What each family among the boosts moves: a feature steers once, and sets have limits. `families`: those of the run,
 * undefined where they cannot be loaded.
 */
export function setsOf(boosts: Boost[], families: Family[] | undefined): Map<string, FamilySet> {
  const steeringIndices = new Set(latentsOf(boosts).map(({ index }) => index));
  const sets = new Map<string, FamilySet>();
  let room = MAX_SET_FEATURES, setCount = 0;
  for (const { of, weight } of boosts.filter((boost) => isFamily(boost.of))) {
    const family = families?.find((candidate) => nameInRun(candidate.name) === of);
    const indices = family?.members.map((member) => member.index).filter((index) => !steeringIndices.has(index)) ?? [];
    const tooLarge = indices.length > room || setCount === MAX_SETS;
    const obstacle = !families ? "away" : !family ? "unknown" : !indices.length ? "repeated" : tooLarge ? "large" : undefined;
    sets.set(of, obstacle ? { family, indices: [], weight, obstacle } : { family, indices, weight });
    if (obstacle) continue;
    setCount += 1;
    room -= indices.length;
    for (const index of indices) steeringIndices.add(index);
  }
  return sets;
}

/** The boosts as the SDK's `boost`: a family that moves documents with all its features by its name, else its features. */
export function pythonBoost(boosts: Boost[], sets: Map<string, FamilySet>): string {
  const entries = boosts.flatMap(({ of, weight }) => {
    const { family, indices = [] } = sets.get(of) ?? {};
    if (!isFamily(of)) return `${of}: ${weight}`;
    if (!family || !indices.length) return [];
    return `${indices.length === family.memberCount ? JSON.stringify(family.name) : `(${indices.join(", ")},)`}: ${weight}`;
  });
  return entries.length ? `, boost={${entries.join(", ")}}` : "";
}

/** What moves a hit: a feature, or a family with the features through which it does. */
export interface Mover {
  of: string;
  family?: Family;
  contribution: number;
  features: Hit["steering"];
}

/** What moves a hit, the most first: the features of a family count together. */
export function moversOf(hit: Hit, sets: Map<string, FamilySet>): Mover[] {
  const familyOf = new Map([...sets].flatMap(([of, { indices }]) => indices.map((index) => [index, of])));
  const movers = new Map<string, Mover>();
  for (const feature of hit.steering) {
    const of = familyOf.get(feature.index) ?? String(feature.index), family = sets.get(of)?.family;
    const mover = movers.get(of) ?? { of, ...(family ? { family } : {}), contribution: 0, features: [] };
    movers.set(of, { ...mover, contribution: mover.contribution + feature.contribution, features: [...mover.features, feature] });
  }
  return [...movers.values()].sort((one, other) => Math.abs(other.contribution) - Math.abs(one.contribution));
}
