// The console's line icons, 20 units square. Decoration: what they stand for is always written beside them.

import type { Child } from "hono/jsx";

const PATHS = {
  home: "M3 9.2 10 3.5l7 5.7V16a1 1 0 0 1-1 1h-3.5v-4.5h-5V17H4a1 1 0 0 1-1-1Z",
  people:
    "M7.5 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM2 16.5c.4-3 2.4-4.6 5.5-4.6s5.1 1.6 5.5 4.6M13 9.3a2.6 2.6 0 1 0-1-5M14.7 12c1.9.4 3 1.7 3.3 4.5",
  invite:
    "M3 6.2A1.2 1.2 0 0 1 4.2 5h11.6A1.2 1.2 0 0 1 17 6.2v7.6a1.2 1.2 0 0 1-1.2 1.2H4.2A1.2 1.2 0 0 1 3 13.8Zm.4.4L10 11l6.6-4.4",
  offer:
    "M5 3.5h7l3.5 3.5v9a.5.5 0 0 1-.5.5H5a.5.5 0 0 1-.5-.5V4a.5.5 0 0 1 .5-.5ZM11.8 3.6V7.2h3.6M7.5 10.5h5M7.5 13.2h5",
  hook: "M8 7.5a2.8 2.8 0 1 1 4 2.4l2.2 3.8M10.4 8 8.3 11.7a2.8 2.8 0 1 1-3.5-1.3M8.6 14h5.6a2.6 2.6 0 1 0 1.2-3.2",
  send: "M3 10h9.5M9 6l4 4-4 4M16.5 4v12",
  key: "M12.5 11.5a4 4 0 1 0-3.8-2.8L3.5 14v2.5H6V15h1.5v-1.5H9l1.6-2.2c.6.1 1.2.2 1.9.2ZM13.2 6.8h.01",
  audit: "M4 5h3v3H4Zm0 7h3v3H4ZM9.5 6.5H16M9.5 13.5H16",
  domain:
    "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM3.2 10h13.6M10 3.2c2 2 2.8 4.2 2.8 6.8s-.8 4.8-2.8 6.8c-2-2-2.8-4.2-2.8-6.8S8 5.2 10 3.2Z",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h13",
  copy: "M7.5 7.5h8v8h-8ZM4.5 12.5v-8h8",
  phone: "M6.5 2.8h7a1 1 0 0 1 1 1v12.4a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1V3.8a1 1 0 0 1 1-1ZM9 14.7h2",
} as const;
export type IconName = keyof typeof PATHS;

export const Icon = ({ name, size = 20 }: { name: IconName; size?: number }): Child => (
  <svg width={size} height={size} viewBox="0 0 20 20" aria-hidden="true">
    <path
      d={PATHS[name]}
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linecap="round"
      stroke-linejoin="round"
    />
  </svg>
);
