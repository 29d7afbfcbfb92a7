/** Jest calls this once after all test files: nothing of the run is left running. */
export default async function tearDown(): Promise<void> {
  await globalThis.datamoverTestKeeper?.stop();
}
