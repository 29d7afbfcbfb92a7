/** Tests run on the compiled tree (dist/), as native ES modules, under the pinned Node. */
export default {
  rootDir: 'dist',
  testMatch: ['**/*.test.js'],
  testEnvironment: 'node',
  transform: {},
  testTimeout: 60_000,
  // On two processors: a third of the time goes into waiting, for intervals of Velero, Kubernetes and Ceph.
  maxWorkers: 3,
  testSequencer: '<rootDir>/e2e/tools/sequencer.js',
  // Between files: each leaves its modules, WASM and shared memory behind in the worker, 1.5 GiB after seventy of them.
  workerIdleMemoryLimit: '1GB',
  reporters: ['default', '<rootDir>/e2e/tools/watchdog.js'],
  globalSetup: '<rootDir>/e2e/servers/global-setup.js',
  globalTeardown: '<rootDir>/e2e/servers/global-teardown.js',
};
