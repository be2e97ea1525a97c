// How an invite is shared: a link that pins the service's id, the same for the VettID app, and both as a QR code.

import { encodeQR } from "qr";

export interface InviteLinks {
  /** `https://<vault>/connect/<code>#<service_id>`; the part behind # never reaches a server. */
  inviteUrl: string;
  /** `vettid://connect?vault=<host>&code=<code>&service=<service_id>` */
  deepLink: string;
}

export function inviteLinks(publicUrl: string, code: string, serviceId: string): InviteLinks {
  const query = new URLSearchParams({ vault: new URL(publicUrl).host, code, service: serviceId });
  return {
    inviteUrl: `${publicUrl}/connect/${code}#${serviceId}`,
    deepLink: `vettid://connect?${query}`,
  };
}

/** A QR code as an SVG drawing, dark on transparent, with the quiet zone of four modules that scanners expect. */
export const qrSvg = (text: string): string => encodeQR(text, "svg", { ecc: "medium", border: 4 });

/** A QR code as an image for `src`. */
export const qrDataUri = (text: string): string =>
  encodeQR(text, "data-url", { ecc: "medium", border: 4, scale: 6 });
