import js from '@eslint/js';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/**
 * Imports run downward only (docs/adr/0001). Each entry names a room and the rooms it must never import from.
 * `errors.ts` and `process/` lie below all of them.
 */
const above = {
  store: [
    'repository',
    'volumes',
    'transfer',
    'retention',
    'catalog',
    'kubernetes',
    'controllers',
    'agent',
    'http',
    'cli',
  ],
  repository: ['volumes', 'transfer', 'catalog', 'kubernetes', 'controllers', 'agent', 'http', 'cli'],
  volumes: ['repository', 'transfer', 'catalog', 'kubernetes', 'controllers', 'agent', 'http', 'cli'],
  transfer: ['kubernetes', 'controllers', 'agent', 'http', 'cli'],
  catalog: ['transfer', 'kubernetes', 'controllers', 'agent', 'http', 'cli'],
  retention: [
    'store',
    'repository',
    'volumes',
    'transfer',
    'catalog',
    'kubernetes',
    'controllers',
    'agent',
    'http',
    'cli',
    'process',
  ],
  process: [
    'store',
    'repository',
    'volumes',
    'transfer',
    'retention',
    'catalog',
    'kubernetes',
    'controllers',
    'agent',
    'http',
    'cli',
  ],
};

const zones = [
  ...Object.entries(above).map(([room, forbidden]) => ({
    target: `./datamover/${room}`,
    from: forbidden.map((name) => `./datamover/${name}`),
    message: `datamover/${room} may not import from the rooms above or beside it`,
  })),
  { target: './plugin', from: './datamover', message: 'the plugin shares api/ alone with the data mover' },
  {
    target: './datamover',
    from: ['./plugin', './e2e', './bench'],
    except: [],
    message: 'datamover stands on its own',
  },
  {
    target: './api',
    from: ['./datamover', './plugin'],
    message: 'api/ is types and schema, imported by all',
  },
];

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'datamover/**/wasm/assembly/**'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'import-x': importX },
    rules: {
      'import-x/no-restricted-paths': ['error', { zones }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    // Tests of a room may start the real servers of e2e/ and look at neighbours.
    files: ['**/*.test.ts', '**/testing/**'],
    rules: { 'import-x/no-restricted-paths': 'off', '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: {
      globals: { console: 'readonly', process: 'readonly', URL: 'readonly', Buffer: 'readonly' },
    },
  },
);
