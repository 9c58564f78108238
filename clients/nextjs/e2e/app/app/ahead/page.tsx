import { Pictures } from '../pictures'

export default Pictures
