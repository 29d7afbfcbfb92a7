/** `make cluster-up`: the whole system in the background, or the word that it is up, and how to use it. */
import { bringUp } from './bring-up.ts';
import { environmentFile, logFile } from './state.ts';
import { requirePeer } from '../servers/peers.ts';

const { access, already } = await bringUp((text) => console.log(text));
console.log(`
${already ? 'The cluster is up already.' : 'The cluster is up.'}

In a shell:  . ${environmentFile()}
      or:    export KUBECONFIG=${access.kubernetes.kubeconfig}
Programs:    kubectl, velero, restic and datamover are on the PATH then; velero is ${requirePeer('velero').file}
Try:         velero backup create monday --include-namespaces NAMESPACE --wait
             kubectl get vsb,vsr -A
             restic -r $REPOSITORIES/NAMESPACE snapshots
Storage:     classes rbd and rbd-wait. No pods run here, there is no kubelet: data goes into volumes with rbd (pool ${access.ceph.pool}).${ofZfs()}
A story:     make demo-cluster
Log:         ${logFile()}
End:         make cluster-down`);

function ofZfs(): string {
  const { zfs } = access;
  if (zfs === undefined)
    return already ? '' : '\n             OpenEBS ZFS, too, in a virtual machine: make cluster-up ZFS=1';
  return `\n             classes ${zfs.storageClasses.join(', ')}: zfs and zpool lead into the virtual machine (pool ${zfs.pool}).`;
}
