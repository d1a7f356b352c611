/** Colours: one hue a category, a slight shade an instance, and readable text on either. */

export type Rgb = readonly [red: number, green: number, blue: number];

const SHADES = [0, 0.22, -0.18, 0.38, -0.3]; // towards white or black

export function parseHex(hex: string): Rgb {
  const value = Number.parseInt(hex.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

/** The category's colour, mixed a little towards white or black by the instance's number. */
export function shadeOf(hex: string, number: number): Rgb {
  const shade = SHADES[Math.abs(number) % SHADES.length];
  const target = shade > 0 ? 255 : 0;
  const mix = (part: number): number => Math.round(part + (target - part) * Math.abs(shade));
  const [red, green, blue] = parseHex(hex);
  return [mix(red), mix(green), mix(blue)];
}

export function css([red, green, blue]: Rgb, alpha = 1): string {
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

/** Black or white, whichever has more contrast on the colour (WCAG luminance). */
export function inkOn(color: Rgb): "#000" | "#fff" {
  const linear = (part: number): number => {
    const value = part / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  const [red, green, blue] = color.map(linear);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}
