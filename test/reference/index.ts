// The test oracle: a naive lake, written from docs/records.md and the design alone. It shares no code with the product.
export { ReferenceLake } from './lake.ts';
export type { Identity, LandedFile, Policy, Withheld } from './lake.ts';
export { read } from './read.ts';
export type { Encoding, Found, FoundBroken, FoundObject } from './read.ts';
export { judgeCustomer, judgeMotion, judgeStep } from './judge.ts';
export type { Verdict } from './judge.ts';
export { jsonAt } from './json.ts';
export type { Json, Member } from './json.ts';
export { sorted } from './tables.ts';
export type { Customer, LandingTable, Load, Motion, Pair, Rejected, Row, Step, Tables, TrustedStep, Value } from './tables.ts';
