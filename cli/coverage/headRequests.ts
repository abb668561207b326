import http from 'node:http';
import https from 'node:https';
import { MAX_MANIFEST_BYTES } from '../../layout/manifestDocument.ts';
import type { Body, Head } from '../../mirror/coverage/served.ts';
import { readPemBytes } from '../../registry/hosts/pem.ts';
import { systemRoots } from '../../registry/hosts/trust.ts';
import { fileUnreadableError } from '../options/errors.ts';
import { readCredentials } from '../serve/serverOptions.ts';
import type { CoverageFlags } from './options.ts';

type Flags = Pick<
  CoverageFlags,
  | 'caFile'
  | 'insecure'
  | 'certFile'
  | 'keyFile'
  | 'authTokenFile'
  | 'authUser'
  | 'authPasswordFile'
  | 'timeout'
  | 'concurrency'
>;

/** The gateway's client follows as many (Go, net/http). Credentials stay with the server that they are for. */
const mostRedirects = 10;
const redirectStatus: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Connections to one server, kept open between requests. */
export interface Heads {
  readonly head: (url: string, signal: AbortSignal) => Promise<Head>;
  /** @throws Error if the body is larger than a manifest may be */
  readonly get: (url: string, signal: AbortSignal) => Promise<Body>;
  readonly close: () => void;
}

/** Opens no connection yet. @throws OptionInvalid, OptionConflict */
export async function openHeads(flags: Flags, env: NodeJS.ProcessEnv): Promise<Heads> {
  const credentials = readCredentials(flags, env);
  const authorization =
    credentials?.token !== undefined
      ? `Bearer ${credentials.token}`
      : credentials?.login &&
        `Basic ${Buffer.from(`${credentials.login.user}:${credentials.login.password}`).toString('base64')}`;
  const headers = authorization === undefined ? {} : { authorization };
  const sockets = { keepAlive: true, maxSockets: flags.concurrency };
  const ca = await readPem('--ca-file', flags.caFile);
  const agents = {
    'http:': new http.Agent(sockets),
    'https:': new https.Agent({
      ...sockets,
      ...(ca === undefined ? {} : { ca: [...(await systemRoots(env)), ca] }),
      ...(flags.certFile === undefined ? {} : { cert: await readPem('--cert-file', flags.certFile) }),
      ...(flags.keyFile === undefined ? {} : { key: await readPem('--key-file', flags.keyFile) }),
      rejectUnauthorized: flags.insecure !== true,
    }),
  };
  const send = (method: 'HEAD' | 'GET', url: URL, origin: string, signal: AbortSignal): Promise<Body> =>
    new Promise((resolve, reject) => {
      const isPlain = url.protocol === 'http:';
      const start = isPlain ? http.request : https.request;
      const agent = agents[isPlain ? 'http:' : 'https:'];
      const limit = AbortSignal.any([signal, AbortSignal.timeout(flags.timeout)]);
      const own = url.origin === origin ? headers : {};
      const request = start(url, { method, agent, headers: own, signal: limit }, response => {
        const fields = Object.entries(response.headers).map(([name, value]) => [name, String(value)] as const);
        const chunks: Buffer[] = [];
        let sizeBytes = 0;
        response.on('data', (chunk: Buffer) => {
          sizeBytes += chunk.length;
          chunks.push(chunk);
          if (sizeBytes > MAX_MANIFEST_BYTES) response.destroy(new Error('a body of more than 4 MiB'));
        });
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: Object.fromEntries(fields),
            body: Buffer.concat(chunks),
          }),
        );
      });
      request.on('error', error =>
        reject(limit.aborted && !signal.aborted ? new Error(`no response in ${flags.timeout / 1000} s`) : error),
      );
      request.end();
    });
  const follow = async (method: 'HEAD' | 'GET', written: string, signal: AbortSignal): Promise<Body> => {
    let url = new URL(written);
    const { origin } = url;
    for (let redirects = 0; ; redirects += 1) {
      const reply = await send(method, url, origin, signal);
      const { location = '' } = reply.headers;
      if (!redirectStatus.has(reply.status) || redirects === mostRedirects || !URL.canParse(location, url.href))
        return reply;
      const next = new URL(location, url);
      if (next.protocol !== 'http:' && next.protocol !== 'https:') return reply;
      url = next;
    }
  };
  return {
    head: (url, signal) => follow('HEAD', url, signal),
    get: (url, signal) => follow('GET', url, signal),
    close: () => {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

async function readPem(option: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return (await readPemBytes(path)).toString('utf8');
  } catch (error) {
    throw fileUnreadableError(option, path, error);
  }
}
