import { RegistryRefusal } from '../errors.ts';
import { hostFaultOf, PROBE_AFTER_MS, passedOver } from '../hostFaults.ts';

interface Health {
  readonly failedFor: Set<string>;
  error: RegistryRefusal;
  probeAtMs: number;
}

/**
 * The hosts to which registries send on for blobs. One that fails is not held against the registry, which answers on; and
 * once all attempts for a blob have failed there, no other blob's attempts are made, but one from time to time.
 */
export class StorageHosts {
  readonly #health = new Map<string, Health>();
  /** Which of them a refusal came from. */
  readonly #origins = new WeakMap<RegistryRefusal, URL>();

  /** @throws what a host that was given up failed with */
  enter(url: URL, subject: string): void {
    const health = this.#health.get(url.origin);
    const limit = health === undefined ? undefined : hostFaultOf(health.error)?.limit;
    if (health === undefined || limit === undefined || health.failedFor.size < limit) return;
    if (performance.now() < health.probeAtMs) {
      const refusal = passedOver(url.host, subject, health.error);
      refusal.elsewhere = true;
      throw refusal;
    }
    health.probeAtMs = performance.now() + PROBE_AFTER_MS;
  }

  heard(url: URL): void {
    this.#health.delete(url.origin);
  }

  /** A request that had been sent on has failed there; more attempts may follow. */
  blame(error: unknown, url: URL): void {
    if (!(error instanceof RegistryRefusal)) return;
    error.elsewhere = true;
    this.#origins.set(error, url);
  }

  /** All attempts at something, `subject`, have failed, the last of them with this. */
  giveUp(error: unknown, subject: string): void {
    const url = error instanceof RegistryRefusal ? this.#origins.get(error) : undefined;
    if (url === undefined || !(error instanceof RegistryRefusal) || hostFaultOf(error) === undefined) return;
    const health = this.#health.get(url.origin) ?? { error, failedFor: new Set(), probeAtMs: 0 };
    health.error = error;
    health.failedFor.add(subject);
    health.probeAtMs = performance.now() + PROBE_AFTER_MS;
    this.#health.set(url.origin, health);
  }
}
