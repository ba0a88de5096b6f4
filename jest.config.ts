import type { Config } from 'jest';

const common = {
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2024', parser: { syntax: 'typescript' } } }] },
  extensionsToTreatAsEsm: ['.ts'],
  moduleFileExtensions: ['ts', 'js', 'json'],
  testEnvironment: 'node',
} satisfies NonNullable<Config['projects']>[number];

/** Three tiers: unit (seconds, no Go, no QEMU), api (a real etcd + kube-apiserver), lab (real kernels in QEMU). */
const config: Config = {
  projects: [
    {
      ...common,
      displayName: 'unit',
      testMatch: ['<rootDir>/{lib,operator,csi-driver,storage-agent,cli,charts,images,test}/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/api/', '\\.lab\\.test\\.ts$'],
    },
    { ...common, displayName: 'api', testMatch: ['<rootDir>/test/api/**/*.test.ts'] },
    { ...common, displayName: 'lab', testMatch: ['<rootDir>/test/**/*.lab.test.ts'] },
  ],
};

export default config;
