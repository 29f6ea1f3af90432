// Which of some requests a blocker would stop: rules from a file, requests as JSON on stdin, the rules that stop them on stdout.
import { FiltersEngine, Request } from "@ghostery/adblocker";
import { readFileSync } from "node:fs";

const engine = FiltersEngine.parse(readFileSync(process.argv[2], "utf8"));
const requests = JSON.parse(readFileSync(0, "utf8"));
const stopped = requests.map((one) => engine.match(Request.fromRawDetails(one)));
console.log(JSON.stringify(stopped.map(({ match, filter }) => (match ? String(filter) : null))));
