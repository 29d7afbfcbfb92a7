import { startKeeper, type Keeper } from './keeper.ts';
import { sweep } from './scratch.ts';
import { KEEPER_VARIABLE } from './shared.ts';

declare global {
  var datamoverTestKeeper: Keeper | undefined;
}

/** Jest calls this once before all test files; its workers inherit the environment. */
export default async function setUp(): Promise<void> {
  sweep();
  globalThis.datamoverTestKeeper = await startKeeper();
  process.env[KEEPER_VARIABLE] = globalThis.datamoverTestKeeper.socket;
}
