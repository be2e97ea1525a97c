// The HTTP surface: what wraps every call, then the routes, a file for each resource.

import { OpenAPIHono } from "@hono/zod-openapi";
import { consoleRoutes } from "../console/console.tsx";
import type { AppEnv } from "./app-env.ts";
import { notFound, onError } from "./middleware/errors.ts";
import { measure } from "./middleware/measure.ts";
import { requestId } from "./middleware/request-id.ts";
import { requestLog } from "./middleware/request-log.ts";
import { securityHeaders } from "./middleware/security-headers.ts";
import { settings } from "./middleware/settings.ts";
import { onValidation } from "./middleware/validation.ts";
import { apiKeyRoutes } from "./routes/api-keys.ts";
import { askingRoutes } from "./routes/asking.ts";
import { auditRoutes } from "./routes/audit.ts";
import { callRoutes } from "./routes/calls.ts";
import { collaborationRoutes } from "./routes/collaboration.ts";
import { connectRoutes } from "./routes/connect.ts";
import { contractRoutes } from "./routes/contracts.ts";
import { customRoutes } from "./routes/custom.ts";
import { discoveryRoutes } from "./routes/discovery.ts";
import { eventRoutes } from "./routes/events.ts";
import { inviteRoutes } from "./routes/invites.ts";
import { logRoutes } from "./routes/log.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { offeringRoutes } from "./routes/offerings.ts";
import { openApiRoutes } from "./routes/openapi.ts";
import { requestRoutes } from "./routes/requests.ts";
import { resourceRoutes } from "./routes/resources.ts";
import { serviceRoutes } from "./routes/service.ts";
import { transferRoutes } from "./routes/transfer.ts";
import { userEventRoutes } from "./routes/user-events.ts";
import { webhookRoutes } from "./routes/webhooks.ts";

export const app = new OpenAPIHono<AppEnv>({ defaultHook: onValidation });

app.onError(onError);
app.notFound(notFound);
app.use(requestId, requestLog, measure, securityHeaders, settings);

serviceRoutes(app);
metricsRoutes(app);
connectRoutes(app);
offeringRoutes(app);
discoveryRoutes(app);
apiKeyRoutes(app);
// Before contracts: /contracts/invites would otherwise be read as a contract's id.
inviteRoutes(app);
contractRoutes(app);
askingRoutes(app);
callRoutes(app);
collaborationRoutes(app);
userEventRoutes(app);
customRoutes(app);
resourceRoutes(app);
requestRoutes(app);
auditRoutes(app);
logRoutes(app);
eventRoutes(app);
webhookRoutes(app);
transferRoutes(app);
openApiRoutes(app);
consoleRoutes(app);
