//! Functions of the driver that are not emulated: each says so, and fails.

use super::api::not_emulated;
use super::code::Code;

macro_rules! unsupported {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> Code {
            not_emulated(0, concat!(stringify!($name), " is not emulated"))
        }
    )*};
}

unsupported! {
    cuCtxCreate_v2 cuCtxCreate_v3 cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxPushCurrent_v2 cuCtxPopCurrent_v2
    cuCtxGetCacheConfig cuCtxSetCacheConfig cuCtxGetLimit cuCtxSetLimit cuCtxEnablePeerAccess
    cuDeviceCanAccessPeer cuDeviceGetDefaultMemPool cuDeviceGetMemPool cuDeviceSetMemPool
    cuMemPoolCreate cuMemPoolDestroy cuMemPoolGetAttribute cuMemPoolSetAttribute cuMemPoolTrimTo
    cuMemAllocFromPoolAsync cuMemAllocManaged cuMemAllocPitch_v2 cuMemAdvise cuMemAdvise_v2 cuMemPrefetchAsync
    cuMemPrefetchAsync_v2 cuMemcpy cuMemcpyAsync cuMemcpyPeer cuMemcpyPeerAsync cuMemcpy2D_v2 cuMemcpy2DAsync_v2
    cuMemcpy3D_v2 cuMemcpy3DAsync_v2 cuMemHostRegister_v2 cuMemHostUnregister cuMemHostGetDevicePointer_v2
    cuMemsetD2D8_v2 cuMemsetD2D16_v2 cuMemsetD2D32_v2 cuPointerGetAttribute cuPointerGetAttributes
    cuLaunchKernelEx cuLaunchCooperativeKernel cuLaunchCooperativeKernelMultiDevice
    cuStreamAttachMemAsync cuStreamBeginCapture_v2 cuStreamEndCapture cuStreamIsCapturing cuStreamAddCallback
    cuStreamGetPriority cuStreamGetFlags cuStreamGetCtx cuEventRecordWithFlags cuEventElapsedTime_v2
    cuGraphCreate cuGraphDestroy cuGraphExecDestroy cuGraphInstantiateWithFlags cuGraphLaunch cuGraphUpload
    cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveClusters cuOccupancyMaxPotentialBlockSize
    cuOccupancyMaxPotentialBlockSizeWithFlags cuOccupancyMaxPotentialClusterSize
    cuIpcGetEventHandle cuIpcOpenEventHandle cuImportExternalMemory cuDestroyExternalMemory cuExternalMemoryGetMappedBuffer
    cuLinkCreate_v2 cuLinkAddData_v2 cuLinkComplete cuLinkDestroy cuLibraryLoadData cuLibraryUnload
    cuModuleLoadFatBinary cuProfilerStart cuProfilerStop cuGetProcAddress_v2
}
