import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { loadAll } from 'js-yaml';
import type { KubeConnection } from '../../lib/kube/client.ts';

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const ROOT = path.join(import.meta.dirname, '../..');

/** Everything that the API server must have before a program of ours runs: CRDs, namespace, identities, policies. */
const FOLDERS = ['crds', 'charts/holdfast/files/rbac', 'charts/holdfast/files/policies'];

/** Plural names that are not just the kind with an s. */
const PLURALS: Readonly<Record<string, string>> = {
  ValidatingAdmissionPolicy: 'validatingadmissionpolicies',
};

/** Applies the project's own manifests, as an administrator would. */
export async function applyProject(connection: KubeConnection): Promise<void> {
  for (const folder of FOLDERS) {
    const files = (await readdir(path.join(ROOT, folder))).filter((file) => file.endsWith('.yaml')).sort();
    const manifests: Manifest[] = [];
    for (const file of files) {
      const text = await readFile(path.join(ROOT, folder, file), 'utf8');
      manifests.push(...loadAll(text).filter((document): document is Manifest => document != null));
    }
    // A namespace goes before what lives in it.
    manifests.sort((a, b) => Number(b.kind === 'Namespace') - Number(a.kind === 'Namespace'));
    for (const manifest of manifests) await apply(connection, manifest);
  }
}

/** Server-side apply of one object of any kind. */
export async function apply(connection: KubeConnection, manifest: Manifest): Promise<void> {
  const { kind, apiVersion, metadata } = manifest;
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  const plural = PLURALS[kind] ?? `${kind.toLowerCase()}s`;
  const response = await connection.request({
    method: 'PATCH',
    path: `${root}${scope}/${plural}/${metadata.name}?fieldManager=lab&force=true`,
    body: JSON.stringify(manifest),
    contentType: 'application/apply-patch+yaml',
  });
  if (response.status >= 300) throw new Error(`applying ${kind} ${metadata.name}: ${response.status} ${response.body}`);
}

/**
 * A token of a service account that is bound to a node, as a pod there would have it: the API server then knows which
 * node speaks, and the admission policies hold it to that node's objects.
 */
export async function nodeToken(
  connection: KubeConnection,
  namespace: string,
  account: string,
  node: string,
): Promise<string> {
  return await token(connection, namespace, account, { kind: 'Node', apiVersion: 'v1', name: node });
}

/** A token of a service account. */
export async function token(
  connection: KubeConnection,
  namespace: string,
  account: string,
  boundObjectRef?: { readonly kind: string; readonly apiVersion: string; readonly name: string },
): Promise<string> {
  const response = await connection.request({
    method: 'POST',
    path: `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
    body: JSON.stringify({
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 24 * 3600, ...(boundObjectRef ? { boundObjectRef } : {}) },
    }),
    contentType: 'application/json',
  });
  if (response.status >= 300) throw new Error(`token for ${account}: ${response.status} ${response.body}`);
  return (JSON.parse(response.body) as { status: { token: string } }).status.token;
}
