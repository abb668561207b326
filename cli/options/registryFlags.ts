/** The options that every command has that speaks to a registry, as commander gives them. */
export interface RegistryFlags {
  readonly registry?: string;
  readonly engine: 'builtin' | 'oras';
  readonly concurrency: number;
  readonly plainHttp?: true | readonly string[];
  readonly insecure?: true | readonly string[];
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly certsDir?: string;
  readonly registryConfig?: string;
  readonly username?: string;
  readonly passwordStdin?: boolean;
  readonly platform?: string;
  /** Milliseconds: the option's parser has turned the seconds. */
  readonly timeout: number;
  readonly retries: number;
  readonly cacheDir?: string;
  readonly cacheSize: number;
}
