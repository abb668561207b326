import { RegistryRefusal } from '../errors.ts';
import { hostFaultOf, PROBE_AFTER_MS, passedOver } from './hostFaults.ts';

/** A registry that is asked again may send to another host: so often it is, while none other of its hosts has answered. */
const RETRIES_WITHOUT_ANOTHER = 1;

interface Storage {
  readonly failedFor: Set<string>;
  error: RegistryRefusal | undefined;
  probeAtMs: number;
  answered: boolean;
}

/**
 * The hosts to which registries send on for blobs. One that fails is not held against the registry, which answers on. Once
 * all attempts for a blob have failed there, no other blob's attempts are made, but one from time to time. Each registry's
 * hosts are known apart: a mirror is given fewer attempts than what stands behind it, and may share its storage.
 */
export class StorageHosts {
  /** By registry, then by origin. */
  readonly #known = new Map<string, Map<string, Storage>>();
  /** Where a refusal came from. */
  readonly #origins = new WeakMap<RegistryRefusal, URL>();

  /** @throws what a host that was given up failed with; temporary where the registry has another */
  enter(url: URL, registry: string, subject: string): void {
    const storage = this.#of(registry, url);
    const { error, failedFor } = storage;
    const limit = error === undefined ? undefined : hostFaultOf(error)?.limit;
    if (error === undefined || limit === undefined || failedFor.size < limit) return;
    if (performance.now() < storage.probeAtMs) {
      const hasAnother = [...(this.#known.get(registry)?.values() ?? [])].some(it => it !== storage && it.answered);
      const retryLimit = hasAnother ? undefined : RETRIES_WITHOUT_ANOTHER;
      const refusal = passedOver(url.host, subject, error, {
        temporary: true,
        ...(retryLimit === undefined ? {} : { retryLimit }),
      });
      refusal.elsewhere = true;
      throw refusal;
    }
    storage.probeAtMs = performance.now() + PROBE_AFTER_MS;
  }

  heard(url: URL, registry: string): void {
    const storage = this.#of(registry, url);
    storage.answered = true;
    storage.error = undefined;
    storage.failedFor.clear();
  }

  /** A request that had been sent on has failed there; more attempts may follow. */
  blame(error: unknown, url: URL): void {
    if (!(error instanceof RegistryRefusal)) return;
    error.elsewhere = true;
    this.#origins.set(error, url);
  }

  /** All attempts at something, `subject`, have failed, the last of them with this. */
  giveUp(error: unknown, registry: string, subject: string): void {
    const url = error instanceof RegistryRefusal ? this.#origins.get(error) : undefined;
    if (url === undefined || !(error instanceof RegistryRefusal) || hostFaultOf(error) === undefined) return;
    const storage = this.#of(registry, url);
    storage.error = error;
    storage.failedFor.add(subject);
    storage.probeAtMs = performance.now() + PROBE_AFTER_MS;
  }

  #of(registry: string, url: URL): Storage {
    const hosts = this.#known.get(registry) ?? new Map<string, Storage>();
    this.#known.set(registry, hosts);
    const storage = hosts.get(url.origin) ?? { failedFor: new Set(), error: undefined, probeAtMs: 0, answered: false };
    hosts.set(url.origin, storage);
    return storage;
  }
}
