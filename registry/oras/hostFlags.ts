import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { includesHost } from '../hosts/hosts.ts';
import { readCertificates } from '../hosts/pem.ts';
import { certificatesFor, extraAuthorities, requireBothFiles } from '../hosts/trust.ts';
import type { RegistryOptions } from '../registry.ts';

/** ORAS' flags for certificate authorities and client certificates, per registry. */
export class HostFlags {
  readonly #options: RegistryOptions;
  readonly #dir: string;
  readonly #flags = new Map<string, Promise<readonly string[]>>();

  /** `dir` must be a folder that only this user can read. @throws RegistryOptionsInvalid */
  constructor(options: RegistryOptions, dir: string) {
    requireBothFiles(options);
    this.#options = options;
    this.#dir = dir;
  }

  /** `host` is `HOST[:PORT]`, or empty for the flags of every registry. @throws RegistryOptionsInvalid */
  of(host: string): Promise<readonly string[]> {
    const known = this.#flags.get(host);
    if (known !== undefined) return known;
    const flags = this.#make(host, this.#flags.size);
    this.#flags.set(host, flags);
    return flags;
  }

  async #make(host: string, serial: number): Promise<string[]> {
    const { insecure, caFile, certFile, keyFile, certsDir, env } = this.#options;
    const own = host === '' ? undefined : await certificatesFor(host, certsDir);
    const named = caFile === undefined ? [] : await readCertificates(caFile);
    const authorities = [...named, ...(await extraAuthorities(env).catch(() => [])), ...(own?.authorities ?? [])];
    const write = async (kind: string, text: string): Promise<string> => {
      const path = join(this.#dir, `${kind}-${serial}.pem`);
      await writeFile(path, text, { mode: 0o600 });
      return path;
    };
    const flags = includesHost(insecure, host, 'https') ? ['--insecure'] : [];
    // With `--ca-file` ORAS trusts only the authorities in it, so the default ones are added.
    if (authorities.length > 0)
      flags.push('--ca-file', await write('authorities', [...authorities, ...rootCertificates].join('\n')));
    if (certFile !== undefined && keyFile !== undefined) flags.push('--cert-file', certFile, '--key-file', keyFile);
    else if (own?.pair !== undefined) {
      const [certificate, key] = own.pair;
      flags.push('--cert-file', await write('certificate', certificate), '--key-file', await write('key', key));
    }
    return flags;
  }
}
