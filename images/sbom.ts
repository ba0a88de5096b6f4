import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { LockedPackage } from './packages.ts';

/** An npm package that a bundle holds code of. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

/** The packages of files such as `node_modules/@grpc/grpc-js/build/src/index.js`, as esbuild's metafile lists them. */
export async function npmPackages(root: string, inputs: readonly string[]): Promise<NpmPackage[]> {
  const folders = new Set(
    inputs
      .map((input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0])
      .filter((one) => one !== undefined),
  );
  return await Promise.all(
    [...folders].sort().map(async (folder) => {
      const text = await readFile(path.join(root, folder, 'package.json'), 'utf8');
      const { name, version, license = 'NOASSERTION' } = JSON.parse(text) as Partial<NpmPackage>;
      if (name === undefined || version === undefined)
        throw new Error(`${folder}: package.json has no name or version`);
      return { name, version, license };
    }),
  );
}

export interface Contents {
  readonly image: string;
  readonly version: string;
  /** The image's digest: what is told of holds for it alone. */
  readonly digest: string;
  readonly created: string;
  readonly suite: string;
  readonly debian: readonly LockedPackage[];
  readonly npm: readonly NpmPackage[];
  readonly nodeVersion: string;
}

/** What an image holds, as an SPDX 2.3 document (spdx.github.io/spdx-spec/v2.3), with package URLs that scanners look up. */
export function spdx(contents: Contents): object {
  const { image, version, digest, created, suite, debian, npm, nodeVersion } = contents;
  const own = {
    name: image,
    versionInfo: version,
    license: 'Apache-2.0',
    purl: `pkg:oci/${image}@${digest.replace(':', '%3A')}`,
  };
  const parts = [
    { name: 'node', versionInfo: nodeVersion, license: 'MIT', purl: `pkg:generic/node@${nodeVersion}` },
    ...npm.map(({ name, version: versionInfo, license }) => ({
      name,
      versionInfo,
      license,
      purl: `pkg:npm/${name.replace('@', '%40')}@${versionInfo}`,
    })),
    ...debian.map(({ name, version: versionInfo, architecture }) => ({
      name,
      versionInfo,
      license: 'NOASSERTION',
      purl: `pkg:deb/debian/${name}@${encodeURIComponent(versionInfo)}?arch=${architecture}&distro=${suite}`,
    })),
  ];
  const packages = [own, ...parts].map((part, index) => ({
    SPDXID: index === 0 ? 'SPDXRef-image' : `SPDXRef-${index}`,
    name: part.name,
    versionInfo: part.versionInfo,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: part.license,
    copyrightText: 'NOASSERTION',
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: part.purl }],
  }));
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `${image}-${version}`,
    documentNamespace: `https://holdfast.dev/spdx/${image}/${digest.replace(':', '-')}`,
    creationInfo: { created, creators: ['Tool: holdfast-images'] },
    documentDescribes: ['SPDXRef-image'],
    packages,
    relationships: packages.slice(1).map(({ SPDXID }) => ({
      spdxElementId: 'SPDXRef-image',
      relationshipType: 'CONTAINS',
      relatedSpdxElement: SPDXID,
    })),
  };
}
