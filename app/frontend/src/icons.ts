/** The icons: strokes on a 24 x 24 grid, drawn for this canvas. */

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  box: "M4 8V5a1 1 0 0 1 1-1h3M16 4h3a1 1 0 0 1 1 1v3M20 16v3a1 1 0 0 1-1 1h-3M8 20H5a1 1 0 0 1-1-1v-3M12 9v6M9 12h6",
  brush:
    "M20 4c-4.5 1.2-8.6 4.6-10.5 8.6l1.9 1.9C15.400 12.600 18.800 8.500 20 4zM9 13.500c-2 0-3.300 1.300-3.300 3.200 0 1.200-.7 2-1.700 2.300 1 .8 2.300 1 3.300 1 2.200 0 3.700-1.500 3.700-3.500",
  eraser:
    "M9.500 19.500 4.600 14.600a1.500 1.500 0 0 1 0-2.100l8-8a1.500 1.500 0 0 1 2.100 0l5 5a1.500 1.500 0 0 1 0 2.100l-7.900 7.900zM8.600 8.600l7 7M9 19.500h11",
  select: "M6 4l12.500 8-5.500 1.200L10.200 19z",
  pan: "M8.500 12V6.500a1.500 1.500 0 0 1 3 0V11m0-.5v-5a1.500 1.500 0 0 1 3 0V11m0-3.500a1.500 1.500 0 0 1 3 0V14c0 3.500-2 6.500-5.500 6.500-3 0-4.500-1.500-5.700-3.800L4.600 13.400c-.6-1.400 1-2.500 2.100-1.500L8.500 14",
  undo: "M9 6 4.500 10.500 9 15M5 10.500h9a5 5 0 0 1 0 10h-3",
  redo: "M15 6l4.500 4.500L15 15M19 10.500h-9a5 5 0 0 0 0 10h3",
  fit: "M4 9V5a1 1 0 0 1 1-1h4M15 4h4a1 1 0 0 1 1 1v4M20 15v4a1 1 0 0 1-1 1h-4M9 20H5a1 1 0 0 1-1-1v-4",
  plus: "M12 5.500v13M5.500 12h13",
  minus: "M5.500 12h13",
  check: "M5 12.500l4.500 4.500L19 7.500",
  cross: "M6.500 6.500l11 11M17.500 6.500l-11 11",
  trash:
    "M5 7h14M10 7V5a1 1 0 0 1 1-1h2a1 1 0 0 1 1 1v2M7 7l.8 12a1 1 0 0 0 1 1h6.400a1 1 0 0 0 1-1L17 7M10.500 11v5M13.500 11v5",
  help: "M9.300 9.500a2.800 2.800 0 1 1 4 2.500c-.9.5-1.300 1-1.300 2M12 17.200v.1M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  left: "M14.500 6 8.500 12l6 6",
  right: "M9.500 6l6 6-6 6",
  flag: "M6 20V4.500M6 5c4-2 6 2 11 0v8c-5 2-7-2-11 0",
} as const;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "mal-icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
