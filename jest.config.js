/** Tests run on the compiled tree (dist/), as native ES modules, under the pinned Node. */
export default {
  rootDir: 'dist',
  testMatch: ['**/*.test.js'],
  testEnvironment: 'node',
  transform: {},
  testTimeout: 60_000,
  maxWorkers: 2,
  reporters: ['default', '<rootDir>/e2e/tools/reporter.js'],
  globalSetup: '<rootDir>/e2e/servers/global-setup.js',
  globalTeardown: '<rootDir>/e2e/servers/global-teardown.js',
};
