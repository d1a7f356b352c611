/** What the actions on the look of image and masks do. */

import type { CommandPorts } from "./commands";
import type { LookAction } from "./keys";
import type { Switch } from "./look";

const NAMES: Readonly<Record<Switch, string>> = {
  outline: "Outline only",
  dim: "Dimming of the others",
  difference: "Difference from the proposal",
  cross: "Cross-hair",
  map: "Map",
  grid: "Pixel grid",
  stretch: "Stretched tones",
  assist: "Assist",
};

export function lookCommands(ports: CommandPorts): Readonly<Record<LookAction, () => void>> {
  const toggle = (name: Switch) => () => {
    const isOn = !ports.scene.look[name];
    ports.setLook({ [name]: isOn });
    ports.say(`${NAMES[name]} ${isOn ? "on" : "off"}.`);
  };
  return {
    "look.outline": toggle("outline"),
    "look.dim": toggle("dim"),
    "look.difference": toggle("difference"),
    "look.cross": toggle("cross"),
    "look.map": toggle("map"),
    "look.grid": toggle("grid"),
    "look.stretch": toggle("stretch"),
    "look.assist": toggle("assist"),
  };
}
