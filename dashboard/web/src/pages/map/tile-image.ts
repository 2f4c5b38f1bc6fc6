/** Loads the picture of a tile, telling the tile server as little as possible. */

/** A server that takes longer is as good as none; without this a request into nowhere lasts for minutes. */
const PATIENCE_MS = 15_000;

export function loadTile(url: string, done: (picture: HTMLImageElement | null) => void): () => void {
  const image = new Image();
  // Neither the address of this page nor, as a request with CORS would, its origin. Nothing reads the canvas.
  image.referrerPolicy = 'no-referrer';
  // Cookies are the same for all ports of a host, and that of the session is nobody else's. Only a request with CORS leaves it out.
  const { hostname, origin } = new URL(url);
  if (hostname === location.hostname && origin !== location.origin) image.crossOrigin = 'anonymous';
  let open = true;
  const end = (picture: HTMLImageElement | null) => {
    if (!open) return;
    giveUp(picture !== null);
    done(picture);
  };
  const giveUp = (keep: boolean) => {
    open = false;
    clearTimeout(timer);
    if (!keep) image.removeAttribute('src');
  };
  const timer = setTimeout(() => end(null), PATIENCE_MS);
  image.src = url;
  image.decode().then(
    () => end(image),
    () => end(null),
  );
  return () => giveUp(false);
}
