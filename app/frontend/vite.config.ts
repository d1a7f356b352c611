import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2022",
    lib: { entry: "src/main.ts", formats: ["es"], fileName: () => "mask-canvas.js" },
    outDir: "../static",
    emptyOutDir: true,
    minify: true,
    sourcemap: false,
    rolldownOptions: { output: { minify: true } },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
