import { mount } from "svelte";
import App from "./App.svelte";
import "./tokens.css";
import "./base.css";
import { app } from "./lib/app.svelte";

app.showTheme();
mount(App, { target: document.getElementById("app")! });
