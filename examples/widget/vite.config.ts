import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  // Paths of its own, so that the page may lie in any folder of a site.
  base: "./",
  // Loopback only, and an origin that the server lets in without being told.
  server: {
    host: "127.0.0.1",
    port: 5173,
    // The SDK is a link to where it is developed, outside of this folder.
    fs: { allow: [".", "../../sdk/javascript"] },
  },
});
