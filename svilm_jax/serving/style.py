"""Style sheet of the page; it uses the visitor's system fonts and loads nothing from other hosts."""

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONOSPACE = ("ui-monospace", "SFMono-Regular", "Menlo", "monospace")

CSS = """
.gradio-container { max-width: 1400px !important; margin: 0 auto !important; }
.gradio-container, .gradio-container main, .gradio-container main > * { width: 100% !important; }
.gradio-container .html-container { padding: 0 !important; }
.svilm-head { display: flex; align-items: baseline; gap: 14px; flex-wrap: wrap; }
.svilm-head h1 { font-size: 22px; font-weight: 650; margin: 0; }
.svilm-head span, .svilm-note, .svilm-name { color: var(--body-text-color-subdued); }
.svilm-head span, .svilm-note { font-size: 13px; line-height: 1.5; }
.svilm-title { font-size: 15px; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
.svilm-message { background: #fef2f2; color: #991b1b; border: 1px solid #fecaca; border-radius: 8px; padding: 8px 12px;
  font-size: 14px; overflow-wrap: anywhere; }
.dark .svilm-message { background: #450a0a; color: #fecaca; border-color: #7f1d1d; }
.svilm-panes { display: grid !important; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 20px;
  align-items: start; }
@media (max-width: 880px) { .svilm-panes { grid-template-columns: minmax(0, 1fr); } }
.svilm-found { gap: 10px !important; min-width: 0 !important; }
.svilm-cards { display: grid !important; grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); gap: 12px;
  align-items: start; }
.svilm-card { border: 1px solid var(--border-color-primary); border-radius: 10px; padding: 8px !important;
  background: var(--block-background-fill); gap: 8px !important; min-width: 0 !important; }
.svilm-card.svilm-chosen { border-color: #2563eb; box-shadow: 0 0 0 2px #2563eb55; }
.svilm-video { width: 100%; aspect-ratio: 4 / 3; background: #0f172a; border-radius: 6px; display: block;
  object-fit: contain; }
.svilm-frame { position: relative; }
.svilm-rank { position: absolute; left: 6px; top: 6px; min-width: 20px; padding: 0 6px; border-radius: 10px;
  background: #0f172acc; color: #fff; font-size: 12px; font-weight: 600; line-height: 20px; text-align: center; }
.svilm-line { display: flex; justify-content: space-between; align-items: baseline; gap: 8px; white-space: nowrap;
  font-size: 12.5px; line-height: 1.5; font-variant-numeric: tabular-nums; }
.svilm-frame + .svilm-line { margin-top: 6px; }
.svilm-name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 12.5px; }
.svilm-panel { border: 1px solid var(--border-color-primary); border-radius: 12px; padding: 16px !important;
  background: var(--block-background-fill); gap: 12px !important; min-width: 0 !important; }
.svilm-own { display: grid; grid-template-columns: 168px 1fr; gap: 14px; align-items: center; }
.svilm-score { font-size: 14px; line-height: 1.6; font-variant-numeric: tabular-nums; margin-bottom: 4px; }
#show, #search { white-space: nowrap; font-size: 14px; font-weight: 600; }
footer { display: none !important; }
"""
