import type { PluginManifest } from '../../mirror/manifest/readManifest.ts';
import type { OpenRegistry } from '../../mirror/session.ts';
import type { RegistryOptions } from '../../registry/registry.ts';

/**
 * How a command opens its registry when it first needs one: with the list's mirrors, and loading the network code only then.
 * A user name on the command line is meant for one host: the one of `--registry`, else the list's own.
 */
export function openerOf(list: PluginManifest, options: RegistryOptions, registry: string | undefined): OpenRegistry {
  return async onEvent => {
    const { openRegistry } = await import('../../registry/openRegistry.ts');
    const [host = ''] = (registry ?? list.registry).split('/');
    return openRegistry({ mirrors: list.mirrors, credentialsFor: [host], ...options, onEvent });
  };
}
