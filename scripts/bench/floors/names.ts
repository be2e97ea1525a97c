// What the floor's Worker and the load that drives it must call alike.

export const FLOOR_STREAM = "FLOOR";
export const FLOOR_CONSUMER = "FLOOR";
export const FLOOR_SUBJECTS = "Floor.>";
/** `MessageSpace.floor.<user>.<row>`: what is sent to a user. */
export const FLOOR_TO_USER = "MessageSpace.floor";
/** `Floor.<user>.<row>`: what a user sends. */
export const floorSubject = (user: string, row: number | string): string => `Floor.${user}.${row}`;
