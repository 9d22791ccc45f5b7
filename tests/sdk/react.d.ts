// As much of React's types as the user of a hook meets; the real ones fit it.
declare module "react" {
  export function useState<S>(first: S | (() => S)): [S, (next: S | ((before: S) => S)) => void];
  export function useEffect(
    effect: () => void | (() => void),
    on?: readonly unknown[],
  ): void;
}
