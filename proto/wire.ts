// Written by generate.mjs from the .proto files beside it.

/** Every message by its full name, as decoded: a field that was not sent has its type's zero, a message null. */
export interface Messages {
  'plugin.Empty': Record<string, never>;
  'plugin.Knock': {
    knock: boolean;
    ack: boolean;
    error: string;
  };
  'plugin.ConnInfo': {
    service_id: number;
    network: string;
    address: string;
    knock: Messages['plugin.Knock'] | null;
  };
  'plugin.StdioData': {
    channel: number;
    data: Buffer;
  };
  'grpc.health.v1.HealthCheckRequest': {
    service: string;
  };
  'grpc.health.v1.HealthCheckResponse': {
    status: number;
  };
  'generated.ExecuteRequest': {
    plugin: string;
    item: Buffer;
    backup: Buffer;
  };
  'generated.ExecuteResponse': {
    item: Buffer;
    additionalItems: Messages['generated.ResourceIdentifier'][];
  };
  'generated.BackupItemActionAppliesToRequest': {
    plugin: string;
  };
  'generated.BackupItemActionAppliesToResponse': {
    ResourceSelector: Messages['generated.ResourceSelector'] | null;
  };
  'generated.Empty': Record<string, never>;
  'generated.ResourceIdentifier': {
    group: string;
    resource: string;
    namespace: string;
    name: string;
  };
  'generated.ResourceSelector': {
    includedNamespaces: string[];
    excludedNamespaces: string[];
    includedResources: string[];
    excludedResources: string[];
    selector: string;
  };
  'generated.OperationProgress': {
    completed: boolean;
    err: string;
    nCompleted: number;
    nTotal: number;
    operationUnits: string;
    description: string;
    started: Messages['google.protobuf.Timestamp'] | null;
    updated: Messages['google.protobuf.Timestamp'] | null;
  };
  'generated.DeleteItemActionExecuteRequest': {
    plugin: string;
    item: Buffer;
    backup: Buffer;
  };
  'generated.DeleteItemActionAppliesToRequest': {
    plugin: string;
  };
  'generated.DeleteItemActionAppliesToResponse': {
    ResourceSelector: Messages['generated.ResourceSelector'] | null;
  };
  'generated.ObjectStoreInitRequest': {
    plugin: string;
    config: Record<string, string>;
  };
  'generated.PutObjectRequest': {
    plugin: string;
    bucket: string;
    key: string;
    body: Buffer;
  };
  'generated.ObjectExistsRequest': {
    plugin: string;
    bucket: string;
    key: string;
  };
  'generated.ObjectExistsResponse': {
    exists: boolean;
  };
  'generated.GetObjectRequest': {
    plugin: string;
    bucket: string;
    key: string;
  };
  'generated.Bytes': {
    data: Buffer;
  };
  'generated.ListCommonPrefixesRequest': {
    plugin: string;
    bucket: string;
    delimiter: string;
    prefix: string;
  };
  'generated.ListCommonPrefixesResponse': {
    prefixes: string[];
  };
  'generated.ListObjectsRequest': {
    plugin: string;
    bucket: string;
    prefix: string;
  };
  'generated.ListObjectsResponse': {
    keys: string[];
  };
  'generated.DeleteObjectRequest': {
    plugin: string;
    bucket: string;
    key: string;
  };
  'generated.CreateSignedURLRequest': {
    plugin: string;
    bucket: string;
    key: string;
    ttl: number;
  };
  'generated.CreateSignedURLResponse': {
    url: string;
  };
  'generated.PluginIdentifier': {
    command: string;
    kind: string;
    name: string;
  };
  'generated.ListPluginsResponse': {
    plugins: Messages['generated.PluginIdentifier'][];
  };
  'generated.RestoreItemActionExecuteRequest': {
    plugin: string;
    item: Buffer;
    restore: Buffer;
    itemFromBackup: Buffer;
  };
  'generated.RestoreItemActionExecuteResponse': {
    item: Buffer;
    additionalItems: Messages['generated.ResourceIdentifier'][];
    skipRestore: boolean;
  };
  'generated.RestoreItemActionAppliesToRequest': {
    plugin: string;
  };
  'generated.RestoreItemActionAppliesToResponse': {
    ResourceSelector: Messages['generated.ResourceSelector'] | null;
  };
  'v2.ExecuteRequest': {
    plugin: string;
    item: Buffer;
    backup: Buffer;
  };
  'v2.ExecuteResponse': {
    item: Buffer;
    additionalItems: Messages['generated.ResourceIdentifier'][];
    operationID: string;
    postOperationItems: Messages['generated.ResourceIdentifier'][];
  };
  'v2.BackupItemActionAppliesToRequest': {
    plugin: string;
  };
  'v2.BackupItemActionAppliesToResponse': {
    ResourceSelector: Messages['generated.ResourceSelector'] | null;
  };
  'v2.BackupItemActionProgressRequest': {
    plugin: string;
    operationID: string;
    backup: Buffer;
  };
  'v2.BackupItemActionProgressResponse': {
    progress: Messages['generated.OperationProgress'] | null;
  };
  'v2.BackupItemActionCancelRequest': {
    plugin: string;
    operationID: string;
    backup: Buffer;
  };
  'v2.RestoreItemActionExecuteRequest': {
    plugin: string;
    item: Buffer;
    restore: Buffer;
    itemFromBackup: Buffer;
  };
  'v2.RestoreItemActionExecuteResponse': {
    item: Buffer;
    additionalItems: Messages['generated.ResourceIdentifier'][];
    skipRestore: boolean;
    operationID: string;
    waitForAdditionalItems: boolean;
    additionalItemsReadyTimeout: Messages['google.protobuf.Duration'] | null;
  };
  'v2.RestoreItemActionAppliesToRequest': {
    plugin: string;
  };
  'v2.RestoreItemActionAppliesToResponse': {
    ResourceSelector: Messages['generated.ResourceSelector'] | null;
  };
  'v2.RestoreItemActionProgressRequest': {
    plugin: string;
    operationID: string;
    restore: Buffer;
  };
  'v2.RestoreItemActionProgressResponse': {
    progress: Messages['generated.OperationProgress'] | null;
  };
  'v2.RestoreItemActionCancelRequest': {
    plugin: string;
    operationID: string;
    restore: Buffer;
  };
  'v2.RestoreItemActionItemsReadyRequest': {
    plugin: string;
    restore: Buffer;
    additionalItems: Messages['generated.ResourceIdentifier'][];
  };
  'v2.RestoreItemActionItemsReadyResponse': {
    ready: boolean;
  };
  'google.protobuf.Empty': Record<string, never>;
  'google.protobuf.Timestamp': {
    seconds: number;
    nanos: number;
  };
  'google.protobuf.Duration': {
    seconds: number;
    nanos: number;
  };
}

/** Every service by its full name. */
export interface Services {
  'plugin.GRPCBroker': {
    StartStream: {
      request: Messages['plugin.ConnInfo'];
      response: Messages['plugin.ConnInfo'];
      requestStream: true;
      responseStream: true;
    };
  };
  'plugin.GRPCController': {
    Shutdown: {
      request: Messages['plugin.Empty'];
      response: Messages['plugin.Empty'];
      requestStream: false;
      responseStream: false;
    };
  };
  'plugin.GRPCStdio': {
    StreamStdio: {
      request: Messages['google.protobuf.Empty'];
      response: Messages['plugin.StdioData'];
      requestStream: false;
      responseStream: true;
    };
  };
  'grpc.health.v1.Health': {
    Check: {
      request: Messages['grpc.health.v1.HealthCheckRequest'];
      response: Messages['grpc.health.v1.HealthCheckResponse'];
      requestStream: false;
      responseStream: false;
    };
    Watch: {
      request: Messages['grpc.health.v1.HealthCheckRequest'];
      response: Messages['grpc.health.v1.HealthCheckResponse'];
      requestStream: false;
      responseStream: true;
    };
  };
  'generated.BackupItemAction': {
    AppliesTo: {
      request: Messages['generated.BackupItemActionAppliesToRequest'];
      response: Messages['generated.BackupItemActionAppliesToResponse'];
      requestStream: false;
      responseStream: false;
    };
    Execute: {
      request: Messages['generated.ExecuteRequest'];
      response: Messages['generated.ExecuteResponse'];
      requestStream: false;
      responseStream: false;
    };
  };
  'generated.DeleteItemAction': {
    AppliesTo: {
      request: Messages['generated.DeleteItemActionAppliesToRequest'];
      response: Messages['generated.DeleteItemActionAppliesToResponse'];
      requestStream: false;
      responseStream: false;
    };
    Execute: {
      request: Messages['generated.DeleteItemActionExecuteRequest'];
      response: Messages['generated.Empty'];
      requestStream: false;
      responseStream: false;
    };
  };
  'generated.ObjectStore': {
    Init: {
      request: Messages['generated.ObjectStoreInitRequest'];
      response: Messages['generated.Empty'];
      requestStream: false;
      responseStream: false;
    };
    PutObject: {
      request: Messages['generated.PutObjectRequest'];
      response: Messages['generated.Empty'];
      requestStream: true;
      responseStream: false;
    };
    ObjectExists: {
      request: Messages['generated.ObjectExistsRequest'];
      response: Messages['generated.ObjectExistsResponse'];
      requestStream: false;
      responseStream: false;
    };
    GetObject: {
      request: Messages['generated.GetObjectRequest'];
      response: Messages['generated.Bytes'];
      requestStream: false;
      responseStream: true;
    };
    ListCommonPrefixes: {
      request: Messages['generated.ListCommonPrefixesRequest'];
      response: Messages['generated.ListCommonPrefixesResponse'];
      requestStream: false;
      responseStream: false;
    };
    ListObjects: {
      request: Messages['generated.ListObjectsRequest'];
      response: Messages['generated.ListObjectsResponse'];
      requestStream: false;
      responseStream: false;
    };
    DeleteObject: {
      request: Messages['generated.DeleteObjectRequest'];
      response: Messages['generated.Empty'];
      requestStream: false;
      responseStream: false;
    };
    CreateSignedURL: {
      request: Messages['generated.CreateSignedURLRequest'];
      response: Messages['generated.CreateSignedURLResponse'];
      requestStream: false;
      responseStream: false;
    };
  };
  'generated.PluginLister': {
    ListPlugins: {
      request: Messages['generated.Empty'];
      response: Messages['generated.ListPluginsResponse'];
      requestStream: false;
      responseStream: false;
    };
  };
  'generated.RestoreItemAction': {
    AppliesTo: {
      request: Messages['generated.RestoreItemActionAppliesToRequest'];
      response: Messages['generated.RestoreItemActionAppliesToResponse'];
      requestStream: false;
      responseStream: false;
    };
    Execute: {
      request: Messages['generated.RestoreItemActionExecuteRequest'];
      response: Messages['generated.RestoreItemActionExecuteResponse'];
      requestStream: false;
      responseStream: false;
    };
  };
  'v2.BackupItemAction': {
    AppliesTo: {
      request: Messages['v2.BackupItemActionAppliesToRequest'];
      response: Messages['v2.BackupItemActionAppliesToResponse'];
      requestStream: false;
      responseStream: false;
    };
    Execute: {
      request: Messages['v2.ExecuteRequest'];
      response: Messages['v2.ExecuteResponse'];
      requestStream: false;
      responseStream: false;
    };
    Progress: {
      request: Messages['v2.BackupItemActionProgressRequest'];
      response: Messages['v2.BackupItemActionProgressResponse'];
      requestStream: false;
      responseStream: false;
    };
    Cancel: {
      request: Messages['v2.BackupItemActionCancelRequest'];
      response: Messages['google.protobuf.Empty'];
      requestStream: false;
      responseStream: false;
    };
  };
  'v2.RestoreItemAction': {
    AppliesTo: {
      request: Messages['v2.RestoreItemActionAppliesToRequest'];
      response: Messages['v2.RestoreItemActionAppliesToResponse'];
      requestStream: false;
      responseStream: false;
    };
    Execute: {
      request: Messages['v2.RestoreItemActionExecuteRequest'];
      response: Messages['v2.RestoreItemActionExecuteResponse'];
      requestStream: false;
      responseStream: false;
    };
    Progress: {
      request: Messages['v2.RestoreItemActionProgressRequest'];
      response: Messages['v2.RestoreItemActionProgressResponse'];
      requestStream: false;
      responseStream: false;
    };
    Cancel: {
      request: Messages['v2.RestoreItemActionCancelRequest'];
      response: Messages['google.protobuf.Empty'];
      requestStream: false;
      responseStream: false;
    };
    AreAdditionalItemsReady: {
      request: Messages['v2.RestoreItemActionItemsReadyRequest'];
      response: Messages['v2.RestoreItemActionItemsReadyResponse'];
      requestStream: false;
      responseStream: false;
    };
  };
}

/** JSON from which protobufjs makes its types. */
export const descriptors =
  '{"nested":{"plugin":{"nested":{"Empty":{"fields":{}},"Knock":{"fields":{"knock":{"type":"bool","id":1},"ack":{"type":"bool","id":2},"error":{"type":"string","id":3}}},"ConnInfo":{"fields":{"service_id":{"type":"uint32","id":1},"network":{"type":"string","id":2},"address":{"type":"string","id":3},"knock":{"type":"Knock","id":4}}},"GRPCBroker":{"methods":{"StartStream":{"requestType":"ConnInfo","requestStream":true,"responseType":"ConnInfo","responseStream":true}}},"GRPCController":{"methods":{"Shutdown":{"requestType":"Empty","responseType":"Empty"}}},"StdioData":{"fields":{"channel":{"type":"Channel","id":1},"data":{"type":"bytes","id":2}},"nested":{"Channel":{"values":{"INVALID":0,"STDOUT":1,"STDERR":2}}}},"GRPCStdio":{"methods":{"StreamStdio":{"requestType":"google.protobuf.Empty","responseType":"StdioData","responseStream":true}}}}},"grpc":{"nested":{"health":{"nested":{"v1":{"nested":{"HealthCheckRequest":{"fields":{"service":{"type":"string","id":1}}},"HealthCheckResponse":{"fields":{"status":{"type":"ServingStatus","id":1}},"nested":{"ServingStatus":{"values":{"UNKNOWN":0,"SERVING":1,"NOT_SERVING":2,"SERVICE_UNKNOWN":3}}}},"Health":{"methods":{"Check":{"requestType":"HealthCheckRequest","responseType":"HealthCheckResponse"},"Watch":{"requestType":"HealthCheckRequest","responseType":"HealthCheckResponse","responseStream":true}}}}}}}}},"generated":{"nested":{"ExecuteRequest":{"fields":{"plugin":{"type":"string","id":1},"item":{"type":"bytes","id":2},"backup":{"type":"bytes","id":3}}},"ExecuteResponse":{"fields":{"item":{"type":"bytes","id":1},"additionalItems":{"rule":"repeated","type":"ResourceIdentifier","id":2}}},"BackupItemActionAppliesToRequest":{"fields":{"plugin":{"type":"string","id":1}}},"BackupItemActionAppliesToResponse":{"fields":{"ResourceSelector":{"type":"ResourceSelector","id":1}}},"BackupItemAction":{"methods":{"AppliesTo":{"requestType":"BackupItemActionAppliesToRequest","responseType":"BackupItemActionAppliesToResponse"},"Execute":{"requestType":"ExecuteRequest","responseType":"ExecuteResponse"}}},"Empty":{"fields":{}},"ResourceIdentifier":{"fields":{"group":{"type":"string","id":1},"resource":{"type":"string","id":2},"namespace":{"type":"string","id":3},"name":{"type":"string","id":4}}},"ResourceSelector":{"fields":{"includedNamespaces":{"rule":"repeated","type":"string","id":1},"excludedNamespaces":{"rule":"repeated","type":"string","id":2},"includedResources":{"rule":"repeated","type":"string","id":3},"excludedResources":{"rule":"repeated","type":"string","id":4},"selector":{"type":"string","id":5}}},"OperationProgress":{"fields":{"completed":{"type":"bool","id":1},"err":{"type":"string","id":2},"nCompleted":{"type":"int64","id":3},"nTotal":{"type":"int64","id":4},"operationUnits":{"type":"string","id":5},"description":{"type":"string","id":6},"started":{"type":"google.protobuf.Timestamp","id":7},"updated":{"type":"google.protobuf.Timestamp","id":8}}},"DeleteItemActionExecuteRequest":{"fields":{"plugin":{"type":"string","id":1},"item":{"type":"bytes","id":2},"backup":{"type":"bytes","id":3}}},"DeleteItemActionAppliesToRequest":{"fields":{"plugin":{"type":"string","id":1}}},"DeleteItemActionAppliesToResponse":{"fields":{"ResourceSelector":{"type":"ResourceSelector","id":1}}},"DeleteItemAction":{"methods":{"AppliesTo":{"requestType":"DeleteItemActionAppliesToRequest","responseType":"DeleteItemActionAppliesToResponse"},"Execute":{"requestType":"DeleteItemActionExecuteRequest","responseType":"Empty"}}},"ObjectStoreInitRequest":{"fields":{"plugin":{"type":"string","id":1},"config":{"keyType":"string","type":"string","id":2}}},"PutObjectRequest":{"fields":{"plugin":{"type":"string","id":1},"bucket":{"type":"string","id":2},"key":{"type":"string","id":3},"body":{"type":"bytes","id":4}}},"ObjectExistsRequest":{"fields":{"plugin":{"type":"string","id":1},"bucket":{"type":"string","id":2},"key":{"type":"string","id":3}}},"ObjectExistsResponse":{"fields":{"exists":{"type":"bool","id":1}}},"GetObjectRequest":{"fields":{"plugin":{"type":"string","id":1},"bucket":{"type":"string","id":2},"key":{"type":"string","id":3}}},"Bytes":{"fields":{"data":{"type":"bytes","id":1}}},"ListCommonPrefixesRequest":{"fields":{"plugin":{"type":"string","id":1},"bucket":{"type":"string","id":2},"delimiter":{"type":"string","id":3},"prefix":{"type":"string","id":4}}},"ListCommonPrefixesResponse":{"fields":{"prefixes":{"rule":"repeated","type":"string","id":1}}},"ListObjectsRequest":{"fields":{"plugin":{"type":"string","id":1},"bucket":{"type":"string","id":2},"prefix":{"type":"string","id":3}}},"ListObjectsResponse":{"fields":{"keys":{"rule":"repeated","type":"string","id":1}}},"DeleteObjectRequest":{"fields":{"plugin":{"type":"string","id":1},"bucket":{"type":"string","id":2},"key":{"type":"string","id":3}}},"CreateSignedURLRequest":{"fields":{"plugin":{"type":"string","id":1},"bucket":{"type":"string","id":2},"key":{"type":"string","id":3},"ttl":{"type":"int64","id":4}}},"CreateSignedURLResponse":{"fields":{"url":{"type":"string","id":1}}},"ObjectStore":{"methods":{"Init":{"requestType":"ObjectStoreInitRequest","responseType":"Empty"},"PutObject":{"requestType":"PutObjectRequest","requestStream":true,"responseType":"Empty"},"ObjectExists":{"requestType":"ObjectExistsRequest","responseType":"ObjectExistsResponse"},"GetObject":{"requestType":"GetObjectRequest","responseType":"Bytes","responseStream":true},"ListCommonPrefixes":{"requestType":"ListCommonPrefixesRequest","responseType":"ListCommonPrefixesResponse"},"ListObjects":{"requestType":"ListObjectsRequest","responseType":"ListObjectsResponse"},"DeleteObject":{"requestType":"DeleteObjectRequest","responseType":"Empty"},"CreateSignedURL":{"requestType":"CreateSignedURLRequest","responseType":"CreateSignedURLResponse"}}},"PluginIdentifier":{"fields":{"command":{"type":"string","id":1},"kind":{"type":"string","id":2},"name":{"type":"string","id":3}}},"ListPluginsResponse":{"fields":{"plugins":{"rule":"repeated","type":"PluginIdentifier","id":1}}},"PluginLister":{"methods":{"ListPlugins":{"requestType":"Empty","responseType":"ListPluginsResponse"}}},"RestoreItemActionExecuteRequest":{"fields":{"plugin":{"type":"string","id":1},"item":{"type":"bytes","id":2},"restore":{"type":"bytes","id":3},"itemFromBackup":{"type":"bytes","id":4}}},"RestoreItemActionExecuteResponse":{"fields":{"item":{"type":"bytes","id":1},"additionalItems":{"rule":"repeated","type":"ResourceIdentifier","id":2},"skipRestore":{"type":"bool","id":3}}},"RestoreItemActionAppliesToRequest":{"fields":{"plugin":{"type":"string","id":1}}},"RestoreItemActionAppliesToResponse":{"fields":{"ResourceSelector":{"type":"ResourceSelector","id":1}}},"RestoreItemAction":{"methods":{"AppliesTo":{"requestType":"RestoreItemActionAppliesToRequest","responseType":"RestoreItemActionAppliesToResponse"},"Execute":{"requestType":"RestoreItemActionExecuteRequest","responseType":"RestoreItemActionExecuteResponse"}}}}},"v2":{"nested":{"ExecuteRequest":{"fields":{"plugin":{"type":"string","id":1},"item":{"type":"bytes","id":2},"backup":{"type":"bytes","id":3}}},"ExecuteResponse":{"fields":{"item":{"type":"bytes","id":1},"additionalItems":{"rule":"repeated","type":"generated.ResourceIdentifier","id":2},"operationID":{"type":"string","id":3},"postOperationItems":{"rule":"repeated","type":"generated.ResourceIdentifier","id":4}}},"BackupItemActionAppliesToRequest":{"fields":{"plugin":{"type":"string","id":1}}},"BackupItemActionAppliesToResponse":{"fields":{"ResourceSelector":{"type":"generated.ResourceSelector","id":1}}},"BackupItemActionProgressRequest":{"fields":{"plugin":{"type":"string","id":1},"operationID":{"type":"string","id":2},"backup":{"type":"bytes","id":3}}},"BackupItemActionProgressResponse":{"fields":{"progress":{"type":"generated.OperationProgress","id":1}}},"BackupItemActionCancelRequest":{"fields":{"plugin":{"type":"string","id":1},"operationID":{"type":"string","id":2},"backup":{"type":"bytes","id":3}}},"BackupItemAction":{"methods":{"AppliesTo":{"requestType":"BackupItemActionAppliesToRequest","responseType":"BackupItemActionAppliesToResponse"},"Execute":{"requestType":"ExecuteRequest","responseType":"ExecuteResponse"},"Progress":{"requestType":"BackupItemActionProgressRequest","responseType":"BackupItemActionProgressResponse"},"Cancel":{"requestType":"BackupItemActionCancelRequest","responseType":"google.protobuf.Empty"}}},"RestoreItemActionExecuteRequest":{"fields":{"plugin":{"type":"string","id":1},"item":{"type":"bytes","id":2},"restore":{"type":"bytes","id":3},"itemFromBackup":{"type":"bytes","id":4}}},"RestoreItemActionExecuteResponse":{"fields":{"item":{"type":"bytes","id":1},"additionalItems":{"rule":"repeated","type":"generated.ResourceIdentifier","id":2},"skipRestore":{"type":"bool","id":3},"operationID":{"type":"string","id":4},"waitForAdditionalItems":{"type":"bool","id":5},"additionalItemsReadyTimeout":{"type":"google.protobuf.Duration","id":6}}},"RestoreItemActionAppliesToRequest":{"fields":{"plugin":{"type":"string","id":1}}},"RestoreItemActionAppliesToResponse":{"fields":{"ResourceSelector":{"type":"generated.ResourceSelector","id":1}}},"RestoreItemActionProgressRequest":{"fields":{"plugin":{"type":"string","id":1},"operationID":{"type":"string","id":2},"restore":{"type":"bytes","id":3}}},"RestoreItemActionProgressResponse":{"fields":{"progress":{"type":"generated.OperationProgress","id":1}}},"RestoreItemActionCancelRequest":{"fields":{"plugin":{"type":"string","id":1},"operationID":{"type":"string","id":2},"restore":{"type":"bytes","id":3}}},"RestoreItemActionItemsReadyRequest":{"fields":{"plugin":{"type":"string","id":1},"restore":{"type":"bytes","id":2},"additionalItems":{"rule":"repeated","type":"generated.ResourceIdentifier","id":3}}},"RestoreItemActionItemsReadyResponse":{"fields":{"ready":{"type":"bool","id":1}}},"RestoreItemAction":{"methods":{"AppliesTo":{"requestType":"RestoreItemActionAppliesToRequest","responseType":"RestoreItemActionAppliesToResponse"},"Execute":{"requestType":"RestoreItemActionExecuteRequest","responseType":"RestoreItemActionExecuteResponse"},"Progress":{"requestType":"RestoreItemActionProgressRequest","responseType":"RestoreItemActionProgressResponse"},"Cancel":{"requestType":"RestoreItemActionCancelRequest","responseType":"google.protobuf.Empty"},"AreAdditionalItemsReady":{"requestType":"RestoreItemActionItemsReadyRequest","responseType":"RestoreItemActionItemsReadyResponse"}}}}},"google":{"nested":{"protobuf":{"nested":{"Empty":{"fields":{}},"Timestamp":{"fields":{"seconds":{"type":"int64","id":1},"nanos":{"type":"int32","id":2}}},"Duration":{"fields":{"seconds":{"type":"int64","id":1},"nanos":{"type":"int32","id":2}}}}}}}}}';
