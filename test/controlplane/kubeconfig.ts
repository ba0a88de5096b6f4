import type { Certificate } from './pki.ts';

/** Who a kubeconfig speaks as. */
export type Credentials =
  | { readonly kind: 'certificate'; readonly certificate: Certificate }
  | { readonly kind: 'token'; readonly token: string };

/**
 * A kubeconfig that stands by itself (nothing in other files), as JSON, which is YAML too. Any client reads it, on the
 * host and in a guest.
 */
export function kubeconfig(url: string, caPem: string, credentials: Credentials): string {
  const user =
    credentials.kind === 'token'
      ? { token: credentials.token }
      : {
          'client-certificate-data': base64(credentials.certificate.certPem),
          'client-key-data': base64(credentials.certificate.keyPem),
        };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server: url, 'certificate-authority-data': base64(caPem) } }],
    users: [{ name: 'lab', user }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'lab' } }],
    'current-context': 'lab',
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
