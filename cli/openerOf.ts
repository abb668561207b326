import type { OpenRegistry } from '../mirror/lazyRegistry.ts';
import type { PluginManifest } from '../mirror/wanted.ts';
import type { RegistryOptions } from '../registry/registry.ts';

/** How a command opens its registry when it first needs one: with the list's mirrors, and loading the network code only then. */
export function openerOf(list: PluginManifest, options: RegistryOptions): OpenRegistry {
  return async onEvent => {
    const { openRegistry } = await import('../registry/openRegistry.ts');
    return openRegistry({ mirrors: list.mirrors, ...options, onEvent });
  };
}
