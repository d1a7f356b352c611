/** The studio's rules as one text; later files may change what earlier ones say. */

import base from "./styles/base.css?inline";
import buttons from "./styles/buttons.css?inline";
import frame from "./styles/frame.css?inline";
import keys from "./styles/keys.css?inline";
import menus from "./styles/menus.css?inline";
import panel from "./styles/panel.css?inline";
import queue from "./styles/queue.css?inline";
import safety from "./styles/safety.css?inline";
import small from "./styles/small.css?inline";
import strip from "./styles/strip.css?inline";
import together from "./styles/together.css?inline";

const early = [base, buttons, frame, panel, strip, small, menus];
export const css = [...early, safety, queue, keys, together].join("");
