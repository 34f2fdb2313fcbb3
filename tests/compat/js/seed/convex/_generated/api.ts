// What `npx convex codegen` writes, as far as it exists at run time.
import { anyApi } from "convex/server";

export const api = anyApi;
