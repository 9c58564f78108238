import { Pictures } from './pictures'

export const dynamic = 'force-dynamic'

export default Pictures
