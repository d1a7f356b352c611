/** What each action does, and which key presses on the canvas are actions. */

import { arrowBox, startBox } from "./boxkeys";
import type { Editor } from "./editor";
import type { Creations } from "./creations";
import type { Input } from "./input";
import type { Habit, Habits } from "./habits";
import { type Action, comboOf } from "./keys";
import type { Look } from "./look";
import { lookCommands } from "./lookcommands";
import { maskCommands } from "./maskcommands";
import { type DeskPorts, queueCommands } from "./queuecommands";
import type { Scene } from "./scene";
import type { Trail } from "./trail";
import type { Box, Category, ImageInfo, Tool } from "./types";
import { percent } from "./view";

export interface CommandPorts {
  readonly editor: Editor;
  readonly scene: Scene;
  readonly input: Input;
  readonly trail: Trail;
  readonly creations: Creations;
  readonly propose: (box: Box) => void;
  readonly repropose: (id: number, box: Box) => void;
  readonly changeBox: (id: number, box: Box) => void;
  readonly stepImage: (by: 1 | -1) => boolean;
  readonly nextImage: () => ImageInfo | null;
  readonly desk: DeskPorts;
  readonly setCategory: (id: number) => void;
  readonly findCategory: () => void;
  readonly habits: () => Habits;
  readonly setHabits: (part: Partial<Habits>) => void;
  readonly setLook: (part: Partial<Look>) => void;
  readonly toggleMenu: (name: "mask" | "view") => void;
  readonly say: (text: string) => void;
  readonly saySelected: () => void;
  readonly help: () => void;
  readonly compare: () => void;
  readonly giveUpBox: () => boolean;
}

const ZOOM_STEP = 1.25;
const BRUSH_STEP = 1.2;
// While the keyboard's brush is down, these leave it there or say themselves what becomes of it.
const GOES_ON: ReadonlySet<Action> = new Set(["cancel", "cursor.lock", "view.in", "view.out"]);
const NOT_FOR_BUTTONS = new Set(["Enter", "Space", "Shift+Enter"]);
const SLIDER_KEYS = /^(Shift\+)?(Arrow(Left|Right|Up|Down)|Home|End|PageUp|PageDown)$/;

export class Commands {
  private readonly table: Readonly<Record<Action, () => void>>;

  constructor(private readonly ports: CommandPorts) {
    const { editor } = ports;
    this.table = {
      "tool.box": this.tool("box", "Box: drag around an object."),
      "tool.extreme": this.tool("extreme", "Four points: click the object's outermost points."),
      "tool.polygon": this.tool("polygon", "Polygon: click around what the mask shall hold."),
      "tool.cut": this.tool("cut", "Polygon: click around what the mask shall lose."),
      "tool.brush": this.tool("brush", "Brush: paint on the selected mask."),
      "tool.eraser": this.tool("eraser", "Eraser: take away from the selected mask."),
      "tool.split": this.tool("split", "Knife: draw a line right through the mask."),
      "tool.select": this.tool("select", "Select: click a mask, or drag its box."),
      "tool.pan": this.tool("pan", "Pan: drag the image."),
      "brush.smaller": () => {
        this.resize(Math.min(editor.radius / BRUSH_STEP, editor.radius - 0.5));
      },
      "brush.larger": () => {
        this.resize(Math.max(editor.radius * BRUSH_STEP, editor.radius + 0.5));
      },
      "cursor.press": () => {
        ports.input.keyCursor.press(""); // nobody holds a key
      },
      "cursor.lock": () => {
        ports.input.keyCursor.press("");
      },
      undo: () => {
        if (!ports.trail.back())
          ports.say(editor.undo() ? "Undone." : "Nothing to undo on this image.");
      },
      redo: () => {
        ports.say(editor.redo() ? "Done again." : "Nothing to redo on this image.");
      },
      "view.fit": () => {
        ports.input.travel.fit();
      },
      "view.in": () => {
        this.zoom(ZOOM_STEP);
      },
      "view.out": () => {
        this.zoom(1 / ZOOM_STEP);
      },
      "box.start": () => {
        this.startBox();
      },
      confirm: () => {
        this.confirm();
      },
      cancel: () => {
        this.cancel();
      },
      accept: () => {
        this.review("accepted");
      },
      reject: () => {
        this.review("rejected");
      },
      repropose: () => {
        this.repropose();
      },
      delete: () => {
        this.remove();
      },
      "select.next": () => {
        editor.step(1);
        ports.saySelected();
      },
      "select.previous": () => {
        editor.step(-1);
        ports.saySelected();
      },
      "select.all": () => {
        editor.selectAll();
        ports.say(`${editor.chosen.length} masks chosen.`);
      },
      "select.none": () => {
        editor.select(null);
        ports.say("No mask chosen.");
      },
      "category.search": () => {
        ports.findCategory();
      },
      "image.next": () => {
        if (!ports.stepImage(1)) ports.say("This is the last image.");
      },
      "image.previous": () => {
        if (!ports.stepImage(-1)) ports.say("This is the first image.");
      },
      conflict: () => {
        ports.compare();
      },
      "hand.left": this.habit("leftHanded", "Left-handed layout"),
      "hand.pressure": this.habit("pressure", "Pen pressure"),
      help: () => {
        ports.help();
      },
      "menu.mask": () => {
        ports.toggleMenu("mask");
      },
      "menu.view": () => {
        ports.toggleMenu("view");
      },
      ...maskCommands(ports),
      ...lookCommands(ports),
      ...queueCommands(ports, this.review.bind(this, "accepted")),
    };
  }

  run(action: Action): void {
    this.table[action]();
  }

  /** Handle a key pressed inside the studio; keys meant for a field are left alone. */
  keyDown(event: KeyboardEvent, categories: readonly Category[]): void {
    const combo = comboOf(event);
    if (event.defaultPrevented || isForField(event.target, combo)) return;
    if (this.take(event, combo, categories)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  keyUp(event: KeyboardEvent): void {
    const { input } = this.ports;
    if (input.keyCursor.keyUp(event.code)) return;
    if (event.key !== " " || !input.isSpaceDown) return;
    input.isSpaceDown = false;
    const action = this.ports.habits().keys.actionOf("Space");
    if (action && !input.spacePanned) this.run(action);
    event.preventDefault();
  }

  private take(event: KeyboardEvent, combo: string, categories: readonly Category[]): boolean {
    const { input } = this.ports;
    if (combo === "Space") {
      if (!event.repeat) input.spacePanned = false;
      input.isSpaceDown = true;
      return true;
    }
    if (input.isBusy && combo !== "Escape") return false;
    const action = this.ports.habits().keys.actionOf(combo);
    if (action === "cursor.press") {
      if (!event.repeat) input.keyCursor.press(event.code);
      return true;
    }
    if (this.arrow(event)) return true;
    if (/^[1-9]$/.test(combo)) return this.pickCategory(Number(combo), categories);
    if (action && !GOES_ON.has(action)) input.keyCursor.release();
    if (action) this.run(action);
    return action !== null;
  }

  private arrow(event: KeyboardEvent): boolean {
    const { editor, input, scene } = this.ports;
    return arrowBox(editor, event, scene.port.scale) || input.keyCursor.arrow(event);
  }

  private pickCategory(digit: number, categories: readonly Category[]): boolean {
    if (digit > categories.length) return false;
    this.ports.input.keyCursor.release();
    const { id, name } = categories[digit - 1];
    this.ports.setCategory(id);
    this.ports.say(`Category: ${name}.`);
    return true;
  }

  private tool(tool: Tool, hint: string): () => void {
    return () => {
      const { editor, say, input } = this.ports;
      input.cancel();
      editor.setTool(tool);
      say(hint);
    };
  }

  private resize(radius: number): void {
    const { editor, say } = this.ports;
    editor.setRadius(radius);
    say(`Brush ${2 * editor.radius} pixels wide.`);
  }

  private habit(name: Habit, text: string): () => void {
    return () => {
      const { habits, setHabits, say } = this.ports;
      setHabits({ [name]: !habits()[name] });
      say(`${text} ${habits()[name] ? "on" : "off"}.`);
    };
  }

  private zoom(factor: number): void {
    const { input, scene, say } = this.ports;
    input.travel.zoom(factor);
    say(`Zoom ${percent(scene.port.scale)}.`);
  }

  /** Enter: the box at hand, or the selected mask, or a new box where boxes are drawn. */
  private confirm(): void {
    const { editor, propose, changeBox, trail } = this.ports;
    const { draft, selected } = editor;
    if (trail.isOpen) trail.finish();
    else if (draft) {
      editor.setDraft(null);
      if (draft.id === null) propose(draft.box);
      else changeBox(draft.id, draft.box);
    } else if (selected && this.ports.desk.isReviewer()) this.run("accept.next");
    else if (selected && selected.state !== "accepted") this.review("accepted");
    else if (editor.tool === "box") this.startBox();
  }

  /** Escape: leave the gesture or box at hand, or else reject. */
  private cancel(): void {
    const { editor, input, say, trail } = this.ports;
    const isLeft = [input.cancel(), trail.cancel()].includes(true);
    if (isLeft) say("Cancelled.");
    else if (editor.draft) {
      editor.setDraft(null);
      say("Box left.");
    } else if (editor.selected) this.review("rejected");
    else if (this.ports.giveUpBox()) say("Box left.");
  }

  private review(state: "accepted" | "rejected"): void {
    const { editor, say } = this.ports;
    const item = editor.selected;
    const count = editor.chosen.filter((one) => !editor.isForeign(one)).length;
    if (!item || editor.heldBy !== "" || count === 0) {
      say(editor.obstacle);
      return;
    }
    if (state === "accepted" && item.rle === null && count === 1) {
      this.repropose(); // there is no mask yet that could be accepted
      return;
    }
    if (state === "accepted") editor.accept();
    else editor.reject();
    say(count > 1 ? `${count} masks ${state}.` : `Mask ${item.number} ${state}.`);
  }

  /** Ask the model for the mask of the selected instance's box, whatever mask there is. */
  private repropose(): void {
    const { editor, say, repropose } = this.ports;
    const item = editor.selected;
    if (!item || editor.obstacle !== "") {
      say(editor.obstacle);
      return;
    }
    const box = editor.draft?.id === item.id ? editor.draft.box : item.box;
    editor.setDraft(null);
    repropose(item.id, box);
  }

  private remove(): void {
    const { editor, say, trail } = this.ports;
    const { selected, chosen } = editor;
    if (trail.back()) return;
    if (!editor.remove()) say(editor.obstacle);
    else if (chosen.length > 1) say(`${chosen.length} masks deleted. Undo brings them back.`);
    else say(`Mask ${selected?.number} deleted. Undo brings it back.`);
  }

  private startBox(): void {
    const { editor, input, scene, say } = this.ports;
    const side = Math.min(scene.size.width, scene.size.height);
    if (startBox(editor, input.travel.centre, side, scene.port.scale)) {
      say(
        "New box. Arrows move it, Shift and arrows resize it, {confirm} gets the mask, Esc leaves.",
      );
    }
  }
}

/** Whether a key belongs to the field or button that has the focus. */
function isForField(target: EventTarget | null, combo: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement && target.type === "range") return SLIDER_KEYS.test(combo);
  if (target.matches("input, textarea, select, [contenteditable]")) return true;
  return target.matches("button, a") && NOT_FOR_BUTTONS.has(combo);
}
