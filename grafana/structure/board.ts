// What a dashboard of ours has to be: Grafana's own types, put together so that a literal of JSON is checked to the last key.
import type {
  AnnotationQuery,
  Dashboard,
  DataSourceRef,
  FieldConfig,
  Panel,
  RowPanel,
  TableOptions,
  VariableModel,
} from '@grafana/schema';
import type * as Heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as Table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// Where the types have an enum, JSON has one of its values.
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer Value extends number}`
      ? Value
      : T
    : T extends readonly (infer Element)[]
      ? Json<Element>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

// The query of Grafana's Prometheus data source, which the schema does not have.
interface PromQuery {
  datasource: DataSourceRef;
  expr: string;
  refId: string;
  legendFormat?: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  range: boolean;
  exemplar?: boolean;
  interval?: string;
}

// What an override may set.
interface Property {
  id:
    | 'color'
    | 'decimals'
    | 'links'
    | 'thresholds'
    | 'unit'
    | `custom.${keyof TimeSeries.FieldConfig | keyof Table.FieldConfig}`;
  value: unknown;
}

interface Drawn<Type extends string, Options, Custom>
  extends Omit<Json<Panel>, 'type' | 'options' | 'fieldConfig' | 'targets' | 'transformations'> {
  type: Type;
  title: string;
  description: string;
  datasource: DataSourceRef;
  options: Json<Options>;
  fieldConfig: {
    defaults: Omit<Json<FieldConfig>, 'custom'> & { custom?: Json<Custom> };
    overrides: { matcher: { id: 'byName' | 'byRegexp'; options: string }; properties: Property[] }[];
  };
  targets: PromQuery[];
  transformations?: { id: 'merge' | 'organize'; options: Record<string, unknown> }[];
}

type AnyPanel =
  | Drawn<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>
  | Drawn<'stat', Stat.Options, Record<string, never>>
  | Drawn<'heatmap', Heatmap.Options, Heatmap.FieldConfig>
  | Drawn<'table', Table.Options, Table.FieldConfig>
  | (Omit<Json<RowPanel>, 'type' | 'panels'> & { type: 'row'; panels: never[] });

export interface Board extends Omit<Json<Dashboard>, 'panels' | 'annotations' | 'templating'> {
  panels: AnyPanel[];
  templating: { list: Json<VariableModel>[] };
  annotations: { list?: (Json<AnnotationQuery<PromQuery>> & { titleFormat?: string })[] };
}
