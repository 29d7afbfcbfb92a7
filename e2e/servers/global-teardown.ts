/** Jest calls this once after all test files: nothing of the run is left running, and what ended too soon is told. */
export default async function tearDown(): Promise<void> {
  const keeper = globalThis.datamoverTestKeeper;
  await keeper?.stop();
  for (const why of keeper?.losses ?? []) console.error(`A server of the tests was lost: ${why}`);
}
