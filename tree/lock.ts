/** Who holds a tree's lock. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  /** ISO 8601, by the holder's clock. */
  readonly since: string;
}
