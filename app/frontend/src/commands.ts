/** What each action does, and which key presses on the canvas are actions. */

import { arrowBox, startBox } from "./boxkeys";
import type { Editor } from "./editor";
import { centreOf, type Input } from "./input";
import { type Action, actionOf, comboOf } from "./keys";
import type { Scene } from "./renderer";
import type { Box, Category, Tool } from "./types";
import { fit, type Viewport, zoomAt } from "./viewport";

export interface CommandPorts {
  readonly editor: Editor;
  readonly scene: Scene;
  readonly input: Input;
  readonly setPort: (port: Viewport) => void;
  readonly propose: (box: Box) => void;
  readonly repropose: (id: number, box: Box) => void;
  readonly changeBox: (id: number, box: Box) => void;
  readonly stepImage: (by: 1 | -1) => boolean;
  readonly setCategory: (id: number) => void;
  readonly say: (text: string) => void;
  readonly saySelected: () => void;
  readonly help: () => void;
}

const ZOOM_STEP = 1.25;
const BRUSH_STEP = 1.2;
const NOT_FOR_BUTTONS = new Set(["Enter", "Space", "Shift+Enter"]);
const SLIDER_KEYS = /^(Shift\+)?(Arrow(Left|Right|Up|Down)|Home|End|PageUp|PageDown)$/;

export class Commands {
  private readonly table: Readonly<Record<Action, () => void>>;

  constructor(private readonly ports: CommandPorts) {
    const { editor } = ports;
    this.table = {
      "tool.box": this.tool("box", "Box: drag around an object."),
      "tool.brush": this.tool("brush", "Brush: paint on the selected mask."),
      "tool.eraser": this.tool("eraser", "Eraser: take away from the selected mask."),
      "tool.select": this.tool("select", "Select: click a mask, or drag its box."),
      "tool.pan": this.tool("pan", "Pan: drag the image."),
      "brush.smaller": () => {
        editor.setRadius(Math.min(editor.radius / BRUSH_STEP, editor.radius - 0.5));
      },
      "brush.larger": () => {
        editor.setRadius(Math.max(editor.radius * BRUSH_STEP, editor.radius + 0.5));
      },
      undo: () => {
        ports.say(editor.undo() ? "Undone." : "Nothing to undo on this image.");
      },
      redo: () => {
        ports.say(editor.redo() ? "Done again." : "Nothing to redo on this image.");
      },
      "view.fit": () => {
        if (editor.image) ports.setPort(fit(editor.image, ports.scene.size));
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
      "next.proposed": () => {
        this.nextToReview();
      },
      "select.next": () => {
        editor.step(1);
        ports.saySelected();
      },
      "select.previous": () => {
        editor.step(-1);
        ports.saySelected();
      },
      "image.next": () => {
        if (!ports.stepImage(1)) ports.say("This is the last image.");
      },
      "image.previous": () => {
        if (!ports.stepImage(-1)) ports.say("This is the first image.");
      },
      help: () => {
        ports.help();
      },
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
    if (event.key !== " " || !input.isSpaceDown) return;
    input.isSpaceDown = false;
    if (!input.spacePanned) this.run("next.proposed");
    event.preventDefault();
  }

  private take(event: KeyboardEvent, combo: string, categories: readonly Category[]): boolean {
    const { editor, input, scene } = this.ports;
    if (combo === "Space") {
      if (!event.repeat) input.spacePanned = false;
      input.isSpaceDown = true;
      return true;
    }
    if (input.isBusy && combo !== "Escape") return false;
    if (arrowBox(editor, event, scene.port.scale)) return true;
    if (/^[1-9]$/.test(combo)) return this.pickCategory(Number(combo), categories);
    const action = actionOf(combo);
    if (!action) return false;
    this.run(action);
    return true;
  }

  private pickCategory(digit: number, categories: readonly Category[]): boolean {
    if (digit > categories.length) return false;
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

  private zoom(factor: number): void {
    const { editor, scene, setPort } = this.ports;
    const { width, height } = scene.size;
    if (!editor.image) return;
    setPort(zoomAt(scene.port, [width / 2, height / 2], factor, editor.image, scene.size));
  }

  /** Enter: the box at hand, or the selected mask, or a new box where boxes are drawn. */
  private confirm(): void {
    const { editor, propose, changeBox } = this.ports;
    const { draft, selected } = editor;
    if (draft) {
      editor.setDraft(null);
      if (draft.id === null) propose(draft.box);
      else changeBox(draft.id, draft.box);
    } else if (selected && selected.state !== "accepted") this.review("accepted");
    else if (editor.tool === "box") this.startBox();
  }

  /** Escape: leave the gesture or box at hand, or else reject. */
  private cancel(): void {
    const { editor, input, say } = this.ports;
    if (input.cancel()) say("Cancelled.");
    else if (editor.draft) {
      editor.setDraft(null);
      say("Box left.");
    } else if (editor.selected) this.review("rejected");
  }

  private review(state: "accepted" | "rejected"): void {
    const { editor, say } = this.ports;
    const item = editor.selected;
    if (!item) {
      say("Select a mask first.");
      return;
    }
    if (state === "accepted" && item.rle === null) {
      this.repropose(); // there is no mask yet that could be accepted
      return;
    }
    if (state === "accepted") editor.accept();
    else editor.reject();
    say(`Mask ${item.number} ${state}.`);
  }

  /** Ask the model for the mask of the selected instance's box, whatever mask there is. */
  private repropose(): void {
    const { editor, say, repropose } = this.ports;
    const item = editor.selected;
    if (!item) {
      say("Select a mask first.");
      return;
    }
    const box = editor.draft?.id === item.id ? editor.draft.box : item.box;
    editor.setDraft(null);
    repropose(item.id, box);
  }

  private remove(): void {
    const { editor, say } = this.ports;
    const item = editor.selected;
    editor.remove();
    say(item ? `Mask ${item.number} deleted. Undo brings it back.` : "Select a mask first.");
  }

  private nextToReview(): void {
    const { editor, stepImage, say, saySelected } = this.ports;
    if (editor.stepToProposed()) saySelected();
    else if (editor.selected?.state !== "proposed" && !stepImage(1)) {
      say("Nothing left to review.");
    }
  }

  private startBox(): void {
    const { editor, scene, say } = this.ports;
    const side = Math.min(scene.size.width, scene.size.height);
    if (startBox(editor, centreOf(scene), side, scene.port.scale)) {
      say("New box. Arrows move it, Shift and arrows resize it, Enter gets the mask, Esc leaves.");
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
