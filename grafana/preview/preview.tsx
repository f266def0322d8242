// Draws a dashboard's JSON with Grafana's own components, outside of Grafana, from figures that a Prometheus gave.
// What Grafana does besides (variables, links, menus, the heatmap, which is no component of its library) is left out or
// drawn plainly here.
import {
  createTheme,
  dateTime,
  FieldType,
  getDisplayProcessor,
  ThemeContext,
  toDataFrame,
  type DataFrame,
  type Field,
  type FieldConfig,
  type GrafanaTheme2,
  type TimeRange,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, TimeSeries, type UPlotConfigBuilder } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import tableStyles from '@grafana/react-data-grid/lib/styles.css';
import { createRoot } from 'react-dom/client';
import plotStyles from 'uplot/dist/uPlot.min.css';

interface Series {
  name: string;
  labels: Record<string, string>;
  times: number[];
  values: number[];
}

interface Input {
  board: { panels: any[]; title: string };
  series: Record<string, Record<string, Series[]>>; // by the panel's id, and by the query's letter
  shaded: number[]; // when bursts were, in milliseconds
  exemplars: { time: number; value: number }[];
  from: number;
  to: number;
}

const ROW = 30, GAP = 8, COLUMNS = 24; // pixels of a row of the grid, and between panels

const input: Input = JSON.parse(document.getElementById('input')!.textContent!);
const theme = createTheme({ colors: { mode: 'dark' } });
const range: TimeRange = {
  from: dateTime(input.from),
  to: dateTime(input.to),
  raw: { from: dateTime(input.from), to: dateTime(input.to) },
};

function configOf(panel: any, name: string): FieldConfig {
  const config = structuredClone(panel.fieldConfig.defaults);
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    const pattern = matcher.id === 'byName' ? null : new RegExp(matcher.options.slice(1, -1));
    if (pattern ? pattern.test(name) : matcher.options === name) {
      for (const { id, value } of properties) {
        const path = id.split('.');
        const last = path.pop()!;
        path.reduce((at: any, key: string) => (at[key] ??= {}), config)[last] = value;
      }
    }
  }
  return config;
}

function fieldOf(panel: any, name: string, values: unknown[], seriesIndex: number, type = FieldType.number): Field {
  const config = { color: { mode: 'palette-classic' }, ...configOf(panel, name), displayName: name };
  const field: Field = { name, type, values, config, state: { seriesIndex } };
  return { ...field, display: getDisplayProcessor({ field, theme }) };
}

function framesOf(panel: any): DataFrame[] {
  return Object.values(input.series[panel.id] ?? {})
    .flat()
    .map(({ name, times, values }, index) => {
      const time: Field = { name: 'time', type: FieldType.time, values: times, config: {} };
      return { ...toDataFrame([]), fields: [time, fieldOf(panel, name, values, index)], length: times.length };
    });
}

function Graph({ panel, width, height }: { panel: any; width: number; height: number }) {
  const frames = framesOf(panel);
  if (!frames.length) {
    return <Nothing says={panel.fieldConfig.defaults.noValue} />;
  }
  const shade = (builder: UPlotConfigBuilder) => {
    builder.addHook('drawClear', (plot: any) => {
      const half = (plot.valToPos(5000, 'x', true) - plot.valToPos(4000, 'x', true)) / 4;
      plot.ctx.fillStyle = 'rgba(255, 152, 48, 0.12)';
      for (const at of input.shaded) {
        plot.ctx.fillRect(plot.valToPos(at, 'x', true) - half, plot.bbox.top, 2 * half, plot.bbox.height);
      }
    });
    return null;
  };
  const { legend, tooltip } = panel.options;
  return (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeRange={range}
      timeZone="utc"
      legend={legend}
      options={{ tooltip }}
    >
      {shade}
    </TimeSeries>
  );
}

function Number({ panel, width, height }: { panel: any; width: number; height: number }) {
  const [series] = Object.values(input.series[panel.id]).flat();
  if (!series) {
    return <Nothing says={panel.fieldConfig.defaults.noValue} />;
  }
  const field = fieldOf({ ...panel, fieldConfig: coloured(panel) }, panel.title, series.values, 0);
  const value = field.display!(series.values.at(-1));
  const { colorMode, graphMode, justifyMode, textMode } = panel.options;
  return (
    <BigValue
      {...{ colorMode, graphMode, justifyMode, width, height, theme }}
      textMode={textMode === 'auto' ? 'value' : textMode}
      value={value}
    />
  );
}

function coloured(panel: any) {
  const { defaults, overrides } = panel.fieldConfig;
  return { overrides, defaults: { ...defaults, color: { mode: 'thresholds' } } };
}

function Rows({ panel, width, height }: { panel: any; width: number; height: number }) {
  const { indexByName, renameByName } = panel.transformations[1].options;
  const queries = input.series[panel.id];
  const key = (series: Series) => Object.values(series.labels).join();
  const rows = queries.A.map((series) => ({ labels: series.labels, key: key(series) }));
  const inOrder = Object.keys(rows[0].labels).sort((one, other) => indexByName[one] - indexByName[other]);
  const labels = inOrder.map((label) =>
    fieldOf(panel, renameByName[label], rows.map((row) => row.labels[label]), 0, FieldType.string)
  );
  const cells = Object.entries(queries).map(([letter, all], index) => {
    const values = rows.map((row) => all.find((series) => key(series) === row.key)?.values.at(-1) ?? null);
    return fieldOf({ ...panel, fieldConfig: coloured(panel) }, renameByName[`Value #${letter}`], values, index);
  });
  const data = { ...toDataFrame([]), fields: [...labels, ...cells], length: rows.length };
  return <TableNG data={data} width={width} height={height} sortBy={panel.options.sortBy} />;
}

// Not Grafana's: its heatmap is no component of its library.
function Heatmap({ panel, width, height }: { panel: any; width: number; height: number }) {
  const bounds = Object.values(input.series[panel.id]).flat();
  const left = 50, bottom = 20, x = (at: number) => left + ((at - input.from) / (input.to - input.from)) * (width - left);
  const step = (height - bottom) / bounds.length, y = (index: number) => height - bottom - (index + 1) * step;
  const cells = bounds.map((bound, index) => bound.values.map((value, at) => value - (bounds[index - 1]?.values[at] ?? 0)));
  const most = Math.max(...cells.flat());
  const at = (value: number) => bounds.findIndex((bound) => value <= parseFloat(bound.name.replace('+Inf', 'Infinity')));
  return (
    <svg width={width} height={height}>
      {bounds.map((bound, index) => (
        <text key={index} x={left - 6} y={y(index) + step / 2 + 4} textAnchor="end" fill="#ccccdc" fontSize={10}>
          {seconds(bound.name)}
        </text>
      ))}
      {cells.map((row, index) =>
        row.map((value, column) =>
          value > 1e-9 ? (
            <rect
              key={`${index}-${column}`}
              x={x(bounds[index].times[column])}
              y={y(index)}
              width={(width - left) / row.length}
              height={step - 1}
              fill={`rgba(255, 152, 48, ${0.15 + 0.85 * Math.sqrt(value / most)})`}
            />
          ) : null
        )
      )}
      {input.exemplars.map(({ time, value }, index) => (
        <rect
          key={index}
          transform={`translate(${x(time)} ${y(at(value)) + step / 2}) rotate(45)`}
          x={-3}
          y={-3}
          width={6}
          height={6}
          fill={panel.options.exemplars.color}
        />
      ))}
    </svg>
  );
}

function seconds(bound: string): string {
  const { text, suffix } = getDisplayProcessor({ field: { type: FieldType.number, config: { unit: 's' } }, theme })(bound);
  return bound === '+Inf' ? bound : text + suffix;
}

function Nothing({ says }: { says: string }) {
  return <div style={{ display: 'grid', placeItems: 'center', height: '100%', opacity: 0.6 }}>{says}</div>;
}

const DRAWN = { timeseries: Graph, stat: Number, table: Rows, heatmap: Heatmap };

function Board({ width }: { width: number }) {
  const column = (width + GAP) / COLUMNS, row = ROW + GAP;
  const bottom = Math.max(...input.board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <div style={{ position: 'relative', height: bottom * row }}>
      {input.board.panels.map((panel) => {
        const { x, y, w, h } = panel.gridPos;
        const place = { position: 'absolute', left: x * column, top: y * row } as const;
        if (panel.type === 'row') {
          return (
            <h4 key={panel.id} style={{ ...place, margin: 0, paddingTop: 8 }}>
              {panel.title}
            </h4>
          );
        }
        const Drawn = DRAWN[panel.type as keyof typeof DRAWN];
        return (
          <div key={panel.id} style={place}>
            <PanelChrome title={panel.title} description={panel.description} width={w * column - GAP} height={h * row - GAP}>
              {(width, height) => <Drawn panel={panel} width={width} height={height} />}
            </PanelChrome>
          </div>
        );
      })}
    </div>
  );
}

const root = document.getElementById('root')!;
root.style.cssText = `padding: 16px; font: ${theme.typography.body.fontSize} ${theme.typography.fontFamily}; color: ${theme.colors.text.primary}`;
document.body.style.cssText = `margin: 0; background: ${theme.colors.background.canvas}`;
createRoot(root).render(
  <ThemeContext.Provider value={theme as GrafanaTheme2}>
    <GlobalStyles />
    <style>{plotStyles + tableStyles}</style>
    <h3 style={{ margin: '0 0 12px' }}>{input.board.title}</h3>
    <Board width={document.body.clientWidth - 32} />
  </ThemeContext.Provider>
);
