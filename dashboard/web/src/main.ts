import './styles/tokens.css';
import './styles/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { declareLanguage, loadTexts } from './i18n';

const target = document.getElementById('app');
if (target === null) throw new Error('index.html has no element with the id "app"');
// Once more, since a page without words is of no use.
await loadTexts().catch(loadTexts);
declareLanguage(document.documentElement);
mount(App, { target });
