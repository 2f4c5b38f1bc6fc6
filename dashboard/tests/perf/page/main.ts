import '@web/styles/tokens.css';
import '@web/styles/base.css';
import { loadTexts } from '@web/i18n';
import { mount } from 'svelte';
import Load from './Load.svelte';

await loadTexts();
mount(Load, { target: document.body });
