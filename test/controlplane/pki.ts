import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { LabError } from '../lab/errors.ts';
import { findProgram, run } from '../lab/process.ts';

const DAYS = '3650';
const P256 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** The certificate authority of one control plane, in a folder. */
export interface Pki {
  readonly caPem: string;
  readonly caFile: string;
  /** Issues a client certificate; `groups` become its O fields, as Kubernetes reads them. */
  readonly clientCertificate: (user: string, groups: readonly string[]) => Promise<Certificate>;
  readonly serverCertificate: (names: readonly string[]) => Promise<CertificateFiles>;
}

export interface Certificate extends CertificateFiles {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** The key pair that signs service-account tokens. */
export interface SigningKeyFiles {
  readonly privateFile: string;
  readonly publicFile: string;
}

/** Makes a new certificate authority in `dir`. Needs the openssl program. */
export async function createPki(dir: string): Promise<Pki> {
  if (findProgram('openssl') === undefined) {
    throw new LabError(
      'openssl is not installed: the lab makes its certificates with it. Install the package openssl.',
    );
  }
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const caFile = path.join(dir, 'ca.crt');
  const caKey = path.join(dir, 'ca.key');
  const usage = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature'];
  await openssl([
    'req',
    '-x509',
    ...P256,
    '-keyout',
    caKey,
    '-out',
    caFile,
    '-days',
    DAYS,
    '-subj',
    '/CN=lab-ca',
    ...usage,
  ]);
  const issue = async (subject: string, extensions: string): Promise<CertificateFiles> => {
    // random, so that certificates can be issued at the same time and never share a serial number
    const base = path.join(dir, crypto.randomUUID());
    const keyFile = `${base}.key`;
    const certFile = `${base}.crt`;
    await writeFile(`${base}.ext`, extensions);
    await openssl(['req', ...P256, '-keyout', keyFile, '-out', `${base}.csr`, '-subj', subject]);
    await openssl(
      [
        ['x509', '-req', '-in', `${base}.csr`, '-CA', caFile, '-CAkey', caKey, '-days', DAYS],
        ['-set_serial', `0x${base.slice(-12)}`, '-extfile', `${base}.ext`, '-out', certFile],
      ].flat(),
    );
    return { certFile, keyFile };
  };
  return {
    caFile,
    caPem: await readFile(caFile, 'utf8'),
    clientCertificate: async (user, groups) => {
      const subject = [...groups.map((group) => `/O=${escape(group)}`), `/CN=${escape(user)}`].join('');
      const files = await issue(subject, 'extendedKeyUsage=clientAuth\n');
      const [certPem, keyPem] = await Promise.all([readFile(files.certFile, 'utf8'), readFile(files.keyFile, 'utf8')]);
      return { ...files, certPem, keyPem };
    },
    serverCertificate: async (names) => {
      const san = names.map((name) => `${/^[0-9.]+$|:/.test(name) ? 'IP' : 'DNS'}:${name}`).join(',');
      return await issue('/CN=kube-apiserver', `subjectAltName=${san}\nextendedKeyUsage=serverAuth\n`);
    },
  };
}

/** Makes the key pair for service-account tokens. */
export async function createSigningKey(dir: string): Promise<SigningKeyFiles> {
  const files = { privateFile: path.join(dir, 'sa.key'), publicFile: path.join(dir, 'sa.pub') };
  await openssl(['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', files.privateFile]);
  await openssl(['ec', '-in', files.privateFile, '-pubout', '-out', files.publicFile]);
  return files;
}

/** In a subject, "/" begins the next field. */
function escape(name: string): string {
  return name.replaceAll('\\', '\\\\').replaceAll('/', String.raw`\/`);
}

async function openssl(args: readonly string[]): Promise<void> {
  await run('openssl', args);
}
